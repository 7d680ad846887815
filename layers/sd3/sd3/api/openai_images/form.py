"""The body of an edit as multipart/form-data, with its images as files."""

import re
from collections.abc import Iterable
from typing import Any, Final

from sd3.api.multipart import form_parts
from sd3.api.request import Request
from sd3.domain.image import encode_base64
from sd3.errors import FieldError, InvalidRequestError

_IMAGE: Final = re.compile(r"image(\[\d{0,3}\])?")
"""The names of an image's part: OpenAI's SDKs write `image` for one image, and else `image[]`."""

_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_NUMBERS: Final = frozenset(
    ("n", "seed", "steps", "num_inference_steps", "guidance_scale", "cfg_scale", "strength")
)
_WORDS: Final = {"true": True, "false": False}


def form_values(request: Request) -> dict[str, Any]:
    """Read a form as the values that a JSON body would have: numbers, and images as base64.

    Empty fields count as not given. A file's name is not read. Raises InvalidRequestError and
    TooLargeError.
    """
    return _values(form_parts(request))


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
