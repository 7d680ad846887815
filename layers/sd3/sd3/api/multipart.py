"""The body of a request as multipart/form-data, in parts of a name and bytes."""

import base64
from collections.abc import Iterator
from typing import Final

from sd3.api.body import MAX_BODY_BYTES
from sd3.api.request import Request
from sd3.errors import FieldError, InvalidRequestError, TooLargeError

MAX_PARTS: Final = 64


def is_form(request: Request) -> bool:
    """Return whether a request says that its body is multipart/form-data."""
    media_type = (request.header("Content-Type") or "").partition(";")[0]
    return media_type.strip().lower() == "multipart/form-data"


def form_parts(request: Request) -> list[tuple[str, bytes]]:
    """Read the parts of a form in their order. A file's name is not read.

    Raises InvalidRequestError and TooLargeError.
    """
    from multipart import MultipartError, parse_options_header  # noqa: PLC0415 - few send a form

    body = request.event.body or ""
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    _, options = parse_options_header(request.header("Content-Type") or "")
    try:
        is_base64 = bool(request.event.is_base64_encoded)
        data = base64.b64decode(body, validate=True) if is_base64 else body.encode()
        return list(_parts(data, options.get("boundary", "")))
    except (MultipartError, UnicodeError) as error:
        raise _bad_form(str(error)) from error
    except ValueError as error:
        raise _bad_form("it cannot be read") from error


def _parts(data: bytes, boundary: str) -> Iterator[tuple[str, bytes]]:
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


def _bad_form(reason: str) -> InvalidRequestError:
    message = f"The body is not multipart/form-data: {reason}."
    return InvalidRequestError([FieldError(("body",), message, "multipart")], message=message)
