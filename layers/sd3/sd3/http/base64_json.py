"""Reading and writing of JSON with images, without copying their base64 more than once."""

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from sd3.domain.image import Image, decode_base64, encode_base64, read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.errors import UpstreamError, UpstreamFailedError, UpstreamResponseError

_LONG: Final = 1024

_DATA_URI: Final = re.compile(rb"data:[^,]{0,100},", re.IGNORECASE)
"""What some servers put before the base64 of an image."""

_MAX_STRINGS: Final = 1024  # 16 images with their keys are some 80

Positions = Mapping[str, slice]

_Response = TypeVar("_Response", bound=BaseModel)


def with_image(body: bytes, name: str, image: Image) -> bytes:
    """Add an image's base64 to a JSON object that already has other fields."""
    encoded = encode_base64(image.data).encode("ascii")
    return b"".join((body[:-1], b',"', name.encode("ascii"), b'":"', encoded, b'"}'))


def _none_if_invalid(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValidationError:
        return None


NoneIfInvalid: Final = WrapValidator(_none_if_invalid)
"""Reads an invalid value as None: for fields beside an image, which is paid and usable all the
same."""


def parse_response(body: bytearray, kind: type[_Response]) -> tuple[_Response, Positions]:
    """Parse the body of a 200 as JSON of the model `kind`.

    The result has a placeholder for each long string, which `read_image_at` resolves. Raises
    UpstreamFailedError for a body that is cut off, and UpstreamResponseError.
    """
    skeleton, positions = split_long_strings(body)
    try:
        return kind.model_validate_json(skeleton), positions
    except ValidationError as error:
        raise _unusable(error) from None  # its text quotes the response


def read_image_at(text: str, body: bytearray, positions: Positions, *, index: int = 0) -> Image:
    """Decode the image of a string or placeholder that `parse_response` has returned.

    The string is base64, or a data: URI of base64. This cuts `body` off at the image, so that
    memory never holds all images and all of their base64. So the last image must be read first.
    `index` is for the error's message. Raises UpstreamResponseError.
    """
    try:
        return read_image(
            _cut_off(body, positions[text]) if text in positions else _decode(text.encode())
        )
    except InvalidImageError as error:
        raise UpstreamResponseError(f"The upstream's image {index}: {error}.") from error


def is_data_uri(text: str, body: bytearray, positions: Positions) -> bool:
    """Return whether a string or placeholder of `parse_response` is a data: URI."""
    if text not in positions:
        return _DATA_URI.match(text.encode()) is not None
    return _DATA_URI.match(body, positions[text].start) is not None


def split_long_strings(body: bytearray) -> tuple[bytes, Positions]:
    """Cut the long strings out of a JSON text, so that a parser need not copy them.

    Returns the text with a placeholder for each long string, and the strings' positions in `body`
    by placeholder. Short strings and strings with escapes stay in the text. Placeholders are
    random, so they cannot be forged. Each replaces a string by a string, so valid JSON stays valid.
    """
    nonce = secrets.token_hex(16)
    pieces: list[bytes | bytearray] = []
    positions: dict[str, slice] = {}
    at = 0
    for start, end in _long_strings(body):
        placeholder = f"{nonce}{len(positions)}"
        positions[placeholder] = slice(start, end)
        pieces += (body[at:start], placeholder.encode())
        at = end
    pieces.append(body[at:])
    return b"".join(pieces), positions


def _long_strings(body: bytearray) -> Iterator[tuple[int, int]]:
    """Find the starts and ends of long strings without escapes, between their quotes.

    In JSON every quote outside of a string begins one, so a search for quotes is enough. No Python
    loop runs over the bytes of an image.
    """
    end = -1
    for _ in range(_MAX_STRINGS):
        start = body.find(b'"', end + 1) + 1
        end = _closing_quote(body, start) if start else -1
        if end < 0:
            return
        if end - start >= _LONG and body.find(b"\\", start, end) < 0:
            yield start, end


def _closing_quote(body: bytearray, start: int) -> int:
    end = body.find(b'"', start)
    while end > 0 and _is_escaped(body, end):
        end = body.find(b'"', end + 1)
    return end


def _is_escaped(body: bytearray, at: int) -> bool:
    first = at
    while body[first - 1] == ord("\\"):
        first -= 1
    return (at - first) % 2 == 1


def _cut_off(body: bytearray, position: slice) -> bytes:
    """Decode the string at `position`, and cut `body` off at its start."""
    with memoryview(body) as whole, whole[position] as text:
        data = _decode(text)
    del body[position.start :]
    return data


def _decode(text: bytes | memoryview) -> bytes:
    head = _DATA_URI.match(text)
    return decode_base64(text[head.end() :] if head else text)


def _unusable(error: ValidationError) -> UpstreamError:
    field_error = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if field_error["type"] == "json_invalid":
        if "EOF" in field_error["msg"]:
            return UpstreamFailedError("The upstream's answer is cut off.")
        return UpstreamResponseError("The upstream's answer is not JSON.")
    where = ".".join(map(str, field_error["loc"])) or "body"
    message = f"The upstream's answer is not as agreed: {where}: {field_error['msg']}."
    return UpstreamResponseError(message)
