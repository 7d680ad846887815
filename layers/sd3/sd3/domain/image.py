"""Images that were checked: by their bytes, no decoder, no copy; links to them and upload forms."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import pybase64
from pydantic_core import PydanticCustomError

from sd3.domain.image_formats import InvalidImageError, check_png_pixels, read_format

MAX_UPLOAD_BYTES: Final = 20_000_000


class UploadForm(NamedTuple):
    """Where a file is sent to as multipart/form-data, with which fields, and until when (UTC)."""

    url: str
    fields: Mapping[str, str]
    expires_at: datetime


class Link(NamedTuple):
    """A signed address and when it ends (UTC)."""

    url: str
    expires_at: datetime


MAX_INIT_BYTES: Final = 4_500_000
"""In base64 it is 6,000,000 characters: with the rest of a request, inside Lambda's 6 MiB."""

MIN_SIDE: Final = 64

MAX_SIDE: Final = 4096

EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

_MAX_DATA_URI_HEAD: Final = 128


class Image(NamedTuple):
    """An image whose header was read: its bytes, format and size in pixels."""

    data: bytes
    content_type: str
    width: int
    height: int


def decode_base64(text: str | bytes | memoryview) -> bytes:
    """Decode strict standard base64: padded, with no white space and no URL-safe letters.

    Bits that the last letter has too many are ignored, as most decoders do: they carry nothing.
    Raises InvalidImageError.
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidImageError("not valid base64") from error


def encode_base64(data: bytes | memoryview) -> str:
    """Encode as standard base64, padded, in one line."""
    return pybase64.b64encode_as_string(data)


def extension(content_type: str) -> str:
    """Name the file extension of a Image's content type: png, jpg or webp."""
    return EXTENSIONS[content_type]


def read_image(data: bytes) -> Image:
    """Read format and size from an image's header, and see that the file has its end.

    Bytes after the end of a PNG or JPEG are fine: cameras write some. A whole file takes
    microseconds whatever its size; only one without an end is searched through.
    Raises InvalidImageError for what is cut off, animated, or no PNG, JPEG or WebP.
    """
    content_type, width, height = read_format(data)
    return Image(data, content_type, width, height)


def check_init_image(data: bytes, *, max_bytes: int = MAX_INIT_BYTES) -> Image:
    """Check a client's image: length, format, 64 to 4096 pixels a side, and a PNG's pixels.

    A PNG is inflated, piece by piece, since a small one can promise what it does not hold.
    Raises InvalidImageError.
    """
    if len(data) > max_bytes:
        raise InvalidImageError(_too_large(max_bytes))
    image = read_image(data)
    if not (MIN_SIDE <= image.width <= MAX_SIDE and MIN_SIDE <= image.height <= MAX_SIDE):
        raise InvalidImageError(f"the image should have {MIN_SIDE} to {MAX_SIDE} pixels a side")
    if image.content_type == "image/png":
        check_png_pixels(data)
    return image


def decode_init_image(value: object) -> Image:
    """Check the wire field init_image: base64 of an image, plain or as a data: URI.

    The image's own bytes say what it is, whatever the URI says. Raises PydanticCustomError.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be a string of base64")
    try:
        return check_init_image(decode_base64(_base64_of(value)))
    except InvalidImageError as error:
        raise PydanticCustomError("picture", "{reason}", {"reason": str(error)}) from error


def _base64_of(text: str) -> str:
    """Take a data: URI's head off, and refuse what is too long before it is decoded."""
    if text[:5].lower() == "data:":
        comma = text.find(",", 0, _MAX_DATA_URI_HEAD)
        head = text[: max(comma, 0)].lower()
        if not (head.startswith("data:image/") and head.endswith(";base64")):
            raise InvalidImageError("a data: URI should begin with data:image/...;base64,")
        text = text[comma + 1 :]
    if len(text) > MAX_INIT_BYTES // 3 * 4:
        raise InvalidImageError(_too_large(MAX_INIT_BYTES))
    return text


def _too_large(max_bytes: int) -> str:
    return f"the image has more than {max_bytes} bytes"
