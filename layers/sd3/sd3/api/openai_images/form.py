"""The body of an edit as multipart/form-data, with its images as files."""

import base64
import re
from collections.abc import Iterable
from typing import Any, Final

from sd3.api.body import MAX_BODY_BYTES
from sd3.api.request import Request
from sd3.domain.image import encode_base64
from sd3.errors import FieldError, InvalidRequestError, TooLargeError

MAX_PARTS: Final = 64

_IMAGE: Final = re.compile(r"image(\[\d{0,3}\])?")
"""The names of an image's part: OpenAI's SDKs write `image` for one image, and else `image[]`."""

_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_NUMBERS: Final = frozenset(
    ("n", "seed", "steps", "num_inference_steps", "guidance_scale", "cfg_scale", "strength")
)
_WORDS: Final = {"true": True, "false": False}


def is_form(request: Request) -> bool:
    """Return whether a request says that its body is multipart/form-data."""
    media_type = (request.header("Content-Type") or "").partition(";")[0]
    return media_type.strip().lower() == "multipart/form-data"


def form_values(request: Request) -> dict[str, Any]:
    """Read a form as the values that a JSON body would have: numbers, and images as base64.

    Empty fields count as not given. A file's name is not read. Raises InvalidRequestError and
    TooLargeError.
    """
    from multipart import MultipartError, parse_options_header  # noqa: PLC0415 - few send a form

    body = request.event.body or ""
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    _, options = parse_options_header(request.header("Content-Type") or "")
    try:
        is_base64 = bool(request.event.is_base64_encoded)
        data = base64.b64decode(body, validate=True) if is_base64 else body.encode()
        parts = list(_parts(data, options.get("boundary", "")))
    except (MultipartError, UnicodeError) as error:
        raise _bad_form(str(error)) from error
    except ValueError as error:
        raise _bad_form("it cannot be read") from error
    return _values(parts)


def _parts(data: bytes, boundary: str) -> Iterable[tuple[str, bytes]]:
    from multipart import PushMultipartParser  # noqa: PLC0415 - as above

    name, content = "", bytearray()
    with PushMultipartParser(boundary, strict=True, max_segment_count=MAX_PARTS) as parser:
        for event in parser.parse(data):
            if event is None:
                yield name, bytes(content)
            elif isinstance(event, (bytes, bytearray)):
                content += event
            else:
                name, content = event.name or "", bytearray()


def _values(parts: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    images: list[str] = []
    for name, content in parts:
        if _IMAGE.fullmatch(name):
            images.append(_image_text(content))
            continue
        if name in values:
            raise InvalidRequestError(
                [FieldError(("body", name[:64]), "the field is there twice", "repeated")]
            )
        values[name] = _value(name, content)
    given = {name: value for name, value in values.items() if value is not None}
    return given | ({"image": images} if images else {})


def _image_text(content: bytes) -> str:
    """Return a part as the base64 that JSON would have; it may be a data: URI itself."""
    is_text = content[:5].lower() == b"data:" and content.isascii()
    return content.decode() if is_text else encode_base64(content)


def _value(name: str, content: bytes) -> object:
    if name == "mask":  # the image itself does not matter: no mask is accepted
        return "mask"
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            [FieldError(("body", name[:64]), "the field is not UTF-8", "not_utf8")]
        ) from error
    if name == "stream":
        return _WORDS.get(text.strip().lower(), text)
    if name in _NUMBERS and _NUMBER.fullmatch(text.strip()):
        return float(text) if "." in text else int(text)
    return text if text.strip() else None


def _bad_form(reason: str) -> InvalidRequestError:
    message = f"The body is not multipart/form-data: {reason}."
    return InvalidRequestError([FieldError(("body",), message, "multipart")], message=message)
