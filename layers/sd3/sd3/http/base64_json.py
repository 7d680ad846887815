"""JSON with images in it, written and read without copying their base64 more than once."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from sd3.domain.image import Image, decode_base64, encode_base64, read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.errors import UpstreamResponseError

_LONG: Final = 1024

_MAX_STRINGS: Final = 1024  # 16 images with their keys are some 80

Positions = Mapping[str, slice]

_Response = TypeVar("_Response", bound=BaseModel)


def with_image(body: bytes, name: str, image: Image) -> bytes:
    """Add an image's base64 to a JSON object, which has other fields already."""
    encoded = encode_base64(image.data).encode("ascii")
    return b"".join((body[:-1], b',"', name.encode("ascii"), b'":"', encoded, b'"}'))


def parse_response(body: bytearray, kind: type[_Response]) -> tuple[_Response, Positions]:
    """Read the body of a 200 as JSON of this kind.

    A long string in it is a placeholder, for `read_image_at`. Raises UpstreamResponseError.
    """
    skeleton, positions = split_long_strings(body)
    try:
        return kind.model_validate_json(skeleton), positions
    except ValidationError as error:
        raise UpstreamResponseError(_field_error(error)) from None  # its text quotes the answer


def read_image_at(text: str, body: bytearray, positions: Positions, *, index: int = 0) -> Image:
    """Decode the image of a string, or of a placeholder, that `parse_response` has returned.

    `body` is used up: it is cut off there, so that memory never has all images and all of their
    base64. The last image must be read first. `index` is for the error's message. Raises
    UpstreamResponseError.
    """
    try:
        return read_image(
            _cut_off(body, positions[text]) if text in positions else decode_base64(text)
        )
    except InvalidImageError as error:
        raise UpstreamResponseError(f"The upstream's image {index}: {error}.") from error


def split_long_strings(body: bytearray) -> tuple[bytes, Positions]:
    """Cut the long strings out of a JSON text, so that a parser need not copy them.

    Returns the text with a placeholder for each, and by placeholder where in `body` it was.
    A string that is short, or that has escapes, stays where it is. A placeholder cannot be
    forged, being random, and is a string where a string was: the text is JSON if it was before.
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
    """Find where long strings without escapes begin and end, between their quotes.

    In JSON a quote outside of a string begins one, so finding quotes is enough: Python looks at no
    byte of an image.
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
    """Decode the string at `position`, and cut `body` off there."""
    with memoryview(body) as whole, whole[position] as text:
        data = decode_base64(text)
    del body[position.start :]
    return data


def _field_error(error: ValidationError) -> str:
    field_error = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if field_error["type"] == "json_invalid":
        cut_off = "EOF" in field_error["msg"]
        return f"The upstream's answer is {'cut off' if cut_off else 'not JSON'}."
    where = ".".join(map(str, field_error["loc"])) or "body"
    return f"The upstream's answer is not as agreed: {where}: {field_error['msg']}."
