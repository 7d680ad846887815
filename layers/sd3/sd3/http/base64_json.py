"""Reading and writing of JSON with images, without copying their base64 more than once."""

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
    """Add an image's base64 to a JSON object that already has other fields."""
    encoded = encode_base64(image.data).encode("ascii")
    return b"".join((body[:-1], b',"', name.encode("ascii"), b'":"', encoded, b'"}'))


def parse_response(body: bytearray, kind: type[_Response]) -> tuple[_Response, Positions]:
    """Parse the body of a 200 as JSON of the model `kind`.

    The result has a placeholder for each long string, which `read_image_at` resolves. Raises
    UpstreamResponseError.
    """
    skeleton, positions = split_long_strings(body)
    try:
        return kind.model_validate_json(skeleton), positions
    except ValidationError as error:
        raise UpstreamResponseError(_field_error(error)) from None  # its text quotes the response


def read_image_at(text: str, body: bytearray, positions: Positions, *, index: int = 0) -> Image:
    """Decode the image of a string or placeholder that `parse_response` has returned.

    This cuts `body` off at the image, so that memory never holds all images and all of their
    base64. So the last image must be read first. `index` is for the error's message. Raises
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
