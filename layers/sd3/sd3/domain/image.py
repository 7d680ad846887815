"""Images: a client's is decoded by Pillow, an upstream's is only read; links and upload forms."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

import pybase64
from pydantic_core import PydanticCustomError

from sd3.domain.image_formats import InvalidImageError, read_format

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

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

_DAMAGED: Final = (OSError, SyntaxError, ValueError, IndexError)
"""What Pillow raises for files that it cannot read, beside its own DecompressionBombError."""


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
    """Read format and size of an image, and see that the file has its end; no decoder runs.

    Bytes after the end are fine: cameras write some. Raises InvalidImageError for what is cut
    off, animated, or no PNG, JPEG or WebP.
    """
    content_type, width, height = read_format(data)
    return Image(data, content_type, width, height)


def check_init_image(data: bytes, *, max_bytes: int = MAX_INIT_BYTES) -> Image:
    """Check a client's image: length, format, 64 to 4096 pixels a side, and that it can be decoded.

    The sides are read before anything is decoded. Raises InvalidImageError.
    """
    if len(data) > max_bytes:
        raise InvalidImageError(_too_large(max_bytes))
    image = read_image(data)
    if not (MIN_SIDE <= image.width <= MAX_SIDE and MIN_SIDE <= image.height <= MAX_SIDE):
        raise InvalidImageError(f"the image should have {MIN_SIDE} to {MAX_SIDE} pixels a side")
    with open_image(image) as opened:
        opened.verify()  # the checksums of a PNG; after it, nothing can be decoded
    with open_image(image) as opened:
        opened.draft(None, (1, 1))  # a JPEG: all its data is read, for an eighth of the pixels
        opened.load()
    return image


@contextmanager
def open_image(image: Image) -> Iterator["ImageFile"]:
    """Open an image with Pillow, which decodes it only when the block asks for its pixels.

    Raises InvalidImageError for what cannot be decoded, also when the block finds it out.
    """
    # Imported here: few requests have an image, and the import takes longer than all else in them.
    # WebP's plugin is named because Pillow would import all of its plugins to find it.
    from PIL import Image as PillowImage  # noqa: PLC0415
    from PIL import WebPImagePlugin  # noqa: F401, PLC0415

    kind = image.content_type.removeprefix("image/").upper()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about odd metadata, which they quote
        try:
            with PillowImage.open(BytesIO(image.data), formats=(kind,)) as opened:
                if opened.size != (image.width, image.height) or max(opened.size) > MAX_SIDE:
                    raise ValueError  # not the header that was checked
                yield opened
        except (*_DAMAGED, PillowImage.DecompressionBombError) as error:
            raise InvalidImageError("the image is damaged") from error


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
