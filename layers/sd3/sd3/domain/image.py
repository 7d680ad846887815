"""Images with their base64, their checks and their decoding; links and upload forms."""

import re
import string
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

import pybase64
from pydantic_core import PydanticCustomError

from sd3.domain.image_formats import InvalidImageError, OtherFormatError, read_format
from sd3.domain.image_metadata import strip_metadata

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_UPLOAD_BYTES: Final = 20_000_000


class UploadForm(NamedTuple):
    """The URL, fields and expiry (UTC) of a form that uploads a file as multipart/form-data."""

    url: str
    fields: Mapping[str, str]
    expires_at: datetime


class Link(NamedTuple):
    """A signed URL and its expiry (UTC)."""

    url: str
    expires_at: datetime


MAX_INIT_BYTES: Final = 4_500_000
"""In base64 this is 6,000,000 characters. With the rest of a request it fits in Lambda's 6 MiB."""

MIN_SIDE: Final = 64

MAX_SIDE: Final = 4096

EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

_MAX_DATA_URI_HEAD: Final = 1024

_NO_BASE64: Final = (
    (re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE), "a URL; it should be base64"),
    (re.compile(r"[0-9a-f]{32}\Z"), "the id of an upload; it should be in init_image_id"),
    (re.compile(r"89504e47|ffd8ff|52494646", re.IGNORECASE), "hex; it should be base64"),
    (re.compile(r"aVZCT1|LzlqL|VWtsR|ZGF0YT"), "base64 of base64, or of a data: URI"),
)
"""What clients take for an image's base64, by its beginning. Base64 itself can begin with the hex
of a PNG, a JPEG or a WebP, but then it is of none of them."""

_WHITE_SPACE: Final = b" \t\r\n"

_BASE64_LETTERS: Final = (string.ascii_letters + string.digits + "+/").encode()

_OTHER_CHARACTERS: Final = "there are characters other than A-Z, a-z, 0-9, + and /"

_PADDING: Final = "its length is wrong, so it may be cut off"

_SPACES: Final = "each + may have become a space, since its length is wrong without the spaces"

_FOREIGN_SIGNS: Final = (
    (b"%", "it is percent-encoded"),
    (b"\\", "there are backslashes"),
    (b'"', "there are quotes"),
)
"""Signs that say what was done to the base64, of which the first that is found counts."""

_DAMAGED: Final = (OSError, SyntaxError, ValueError, IndexError)
"""The exceptions that Pillow raises for unreadable files, besides DecompressionBombError."""


class Image(NamedTuple):
    """An image whose header was read: its bytes, format and size in pixels."""

    data: bytes
    content_type: str
    width: int
    height: int


def decode_base64(text: str | bytes | memoryview) -> bytes:
    """Decode standard base64. White space is passed over, and the padding may be missing.

    Surplus bits of the last letter are ignored, as in most decoders. Raises InvalidImageError,
    which says what is wrong.
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return _decode_loose_base64(text)


def _decode_loose_base64(text: str | bytes | memoryview) -> bytes:
    """Decode base64 as tools write it. What is strict is decoded before, without these copies."""
    try:
        data = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise InvalidImageError(_not_base64(_OTHER_CHARACTERS)) from error
    letters = data.translate(None, _WHITE_SPACE)
    missing = -len(letters) % 4
    if missing and b" " in data.strip(_WHITE_SPACE):
        raise InvalidImageError(_not_base64(_base64_error(letters) or _SPACES))
    try:
        return pybase64.b64decode(letters + b"=" * missing if missing else letters, validate=True)
    except ValueError as error:
        raise InvalidImageError(_not_base64(_base64_error(letters) or _PADDING)) from error


def _base64_error(letters: bytes) -> str | None:
    """Return which characters are wrong in what is not base64; None where its length is wrong."""
    others = letters.translate(None, _BASE64_LETTERS).rstrip(b"=")
    if not others.strip(b"="):
        return "there is a = before its end" if b"=" in letters.rstrip(b"=") else None
    if not others.strip(b"-_="):
        return "- and _ are of the URL-safe alphabet; + and / take their place"
    return next((error for sign, error in _FOREIGN_SIGNS if sign in others), _OTHER_CHARACTERS)


def _not_base64(reason: str) -> str:
    return f"not valid base64: {reason}"


def encode_base64(data: bytes | memoryview) -> str:
    """Encode as standard base64, padded, in one line."""
    return pybase64.b64encode_as_string(data)


def extension(content_type: str) -> str:
    """Return the file extension of an image's content type: png, jpg or webp."""
    return EXTENSIONS[content_type]


def read_image(data: bytes) -> Image:
    """Read the format and size of an image and check that the file is complete, without decoding.

    Bytes after the image's end are accepted, since cameras write some. Raises InvalidImageError for
    a file that is cut off, animated, or neither PNG, JPEG nor WebP.
    """
    content_type, width, height = read_format(data)
    return Image(data, content_type, width, height)


def check_init_image(data: bytes, *, max_bytes: int = MAX_INIT_BYTES) -> Image:
    """Check a client's image: its length and format, 64 to 4096 pixels a side, and its pixel data.

    The sides are checked before anything is decoded. What is decoded is the file without its
    metadata, as upstreams get it, so damaged metadata is no error. An AVIF or HEIC, which not every
    upstream can read, becomes a JPEG here, once. Raises InvalidImageError.
    """
    if not data:
        raise InvalidImageError("the image is empty")
    check_length(data, max_bytes=max_bytes)
    if data[4:8] == b"ftyp":
        return _converted(data)
    try:
        image = read_image(data)
    except OtherFormatError as error:
        raise OtherFormatError(error.found, taken="PNG, JPEG, WebP, AVIF or HEIC") from error
    _check_sides(image.width, image.height)
    stripped = image._replace(data=strip_metadata(data, image.content_type).data)
    with open_image(stripped) as opened:
        opened.verify()  # checks the checksums of a PNG; the file must be opened again after it
    with open_image(stripped) as opened:
        opened.draft(
            None, (1, 1)
        )  # reads all data of a JPEG, but decodes it at an eighth of its size
        opened.load()
    return image


def check_length(data: bytes, *, max_bytes: int = MAX_INIT_BYTES) -> None:
    """Raise InvalidImageError for a file of more than `max_bytes`."""
    if len(data) > max_bytes:
        raise InvalidImageError(_too_large(max_bytes))


def _converted(data: bytes) -> Image:
    # Imported here, since few requests have such an image.
    from sd3.domain.heif import decode_heif  # noqa: PLC0415
    from sd3.domain.heif_format import read_heif  # noqa: PLC0415

    heif = read_heif(data)
    _check_sides(heif.width, heif.height)
    return read_image(decode_heif(data))


def _check_sides(width: int, height: int) -> None:
    if min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE:
        return
    scale = "down" if max(width, height) > MAX_SIDE else "up"
    raise InvalidImageError(
        f"the image has {width} x {height} pixels, and should have {MIN_SIDE} to {MAX_SIDE} pixels"
        f" a side: scale it {scale}"
    )


@contextmanager
def open_image(image: Image) -> Iterator["ImageFile"]:
    """Open an image with Pillow, which decodes it only when the block needs its pixels.

    Raises InvalidImageError for an image that cannot be decoded, also while the block runs.
    """
    # Imported here, since few requests have an image and the import takes longer than the rest of
    # a request. The WebP plugin is imported by name: Pillow would import all of its plugins.
    from PIL import Image as PillowImage  # noqa: PLC0415
    from PIL import WebPImagePlugin  # noqa: F401, PLC0415

    kind = image.content_type.removeprefix("image/").upper()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about unusual metadata, and quote it
        try:
            with PillowImage.open(BytesIO(image.data), formats=(kind,)) as opened:
                if opened.size != (image.width, image.height) or max(opened.size) > MAX_SIDE:
                    raise ValueError  # Pillow read another header than the one that was checked
                if opened.mode == "P" and opened.palette is None:
                    raise ValueError  # Pillow opens such a PNG, and fails later
                yield opened
        except (*_DAMAGED, PillowImage.DecompressionBombError) as error:
            raise InvalidImageError("the image is damaged") from error


def decode_init_image(value: object) -> Image:
    """Check the wire field init_image: base64 of an image, plain or as a data: URI.

    The format is read from the image. The URI may name any type or none. Raises
    PydanticCustomError.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be a string of base64")
    try:
        return check_init_image(decode_image_text(value))
    except InvalidImageError as error:
        raise PydanticCustomError("picture", "{reason}", {"reason": str(error)}) from error


def decode_image_text(text: str) -> bytes:
    """Decode the base64 of a client's image, plain or as a data: URI. Raises InvalidImageError."""
    return decode_base64(_base64_of(text))


def _base64_of(text: str) -> str:
    """Remove the head of a data: URI, and reject base64 that is too long before it is decoded."""
    text = text.strip(_WHITE_SPACE.decode())
    if text[:5].lower() == "data:":
        head, comma, _ = text[:_MAX_DATA_URI_HEAD].partition(",")
        if not (comma and head.lower().replace(" ", "").endswith(";base64")):
            raise InvalidImageError("a data: URI should begin with data:image/...;base64,")
        text = text[len(head) + 1 :]
    elif reason := next((reason for form, reason in _NO_BASE64 if form.match(text)), None):
        raise InvalidImageError(f"this is {reason}")
    if _is_longer(text, MAX_INIT_BYTES // 3 * 4):
        raise InvalidImageError(_too_large(MAX_INIT_BYTES))
    return text


def _is_longer(text: str, most: int) -> bool:
    """Return whether `text` has more than `most` characters besides its white space."""
    return len(text) > most and len(text) - sum(map(text.count, _WHITE_SPACE.decode())) > most


def _too_large(max_bytes: int) -> str:
    return f"the image has more than {max_bytes} bytes"
