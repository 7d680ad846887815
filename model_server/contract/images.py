"""Images in base64: init images are decoded, generated images are encoded."""

import base64
import io
from typing import Final, Literal

from PIL import ExifTags, Image
from pydantic_core import PydanticCustomError

MAX_SIDE: Final = 4096
_UPRIGHT: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transposition that turns the image upright.

ImageOps.exif_transpose also rewrites the EXIF data, and fails on data that a camera wrote wrongly.
"""
_JPEG_QUALITY: Final = 90
_PNG_COMPRESS_LEVEL: Final = 1  # the default, 6, takes three times as long and saves a tenth


def decode_init_image(value: object) -> Image.Image:
    """Decode the base64 of a PNG, JPEG or WebP into an upright RGB image.

    Transparent pixels become white. Raises PydanticCustomError, which quotes none of the input.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:
        raise PydanticCustomError("base64", "Input should be plain base64") from None
    try:
        return _decode(data)
    except (Image.DecompressionBombError, _TooLargeError):
        raise PydanticCustomError("image_size", "A side should be at most 4096 pixels") from None
    except (OSError, SyntaxError, ValueError):  # Pillow raises any of these for a damaged file
        raise PydanticCustomError("image", "Input should be a PNG, JPEG or WebP") from None


class _TooLargeError(Exception):
    """A side is longer than MAX_SIDE."""


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
        if max(image.size) > MAX_SIDE:  # checked before decoding: the file may be a bomb
            raise _TooLargeError
        transposition = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
        upright = image if transposition is None else image.transpose(transposition)
        if not upright.has_transparency_data:
            return upright.convert("RGB")
        background = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(background, upright.convert("RGBA")).convert("RGB")


def encode_image(image: Image.Image, encoding: Literal["jpeg", "png"]) -> str:
    """Return the base64 of `image` as a JPEG or PNG; the same pixels give the same text."""
    file = io.BytesIO()
    if encoding == "png":
        image.save(file, "PNG", compress_level=_PNG_COMPRESS_LEVEL)
    else:
        image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(file.getbuffer()).decode("ascii")
