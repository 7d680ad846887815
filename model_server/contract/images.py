"""Pictures from base64 and to base64."""

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
"""How to turn a picture of that EXIF orientation. ImageOps.exif_transpose would write the EXIF
data anew as well, and fails where a camera has written it badly."""
_JPEG_QUALITY: Final = 90
_PNG_COMPRESS_LEVEL: Final = 1  # 6, the default, takes three times as long for a tenth less


def read_init_image(value: object) -> Image.Image:
    """Decode plain base64 of a PNG, JPEG or WebP into an upright RGB picture.

    What is transparent becomes white. Raises PydanticCustomError, with nothing of the input in it.
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
    except (OSError, SyntaxError, ValueError):  # any of these for a damaged file
        raise PydanticCustomError("image", "Input should be a PNG, JPEG or WebP") from None


class _TooLargeError(Exception):
    """A side of more than MAX_SIDE pixels."""


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        if max(picture.size) > MAX_SIDE:  # before anything is decoded: it may be a bomb
            raise _TooLargeError
        turn = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation))
        upright = picture if turn is None else picture.transpose(turn)
        if not upright.has_transparency_data:
            return upright.convert("RGB")
        paper = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(paper, upright.convert("RGBA")).convert("RGB")


def encode(picture: Image.Image, encoding: Literal["jpeg", "png"]) -> str:
    """Encode as base64 of a JPEG or PNG; the same pixels give the same text."""
    file = io.BytesIO()
    if encoding == "png":
        picture.save(file, "PNG", compress_level=_PNG_COMPRESS_LEVEL)
    else:
        picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(file.getbuffer()).decode("ascii")
