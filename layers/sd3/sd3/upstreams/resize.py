"""An init image in the size that is asked for, for upstreams whose image follows it."""

import struct
from contextlib import suppress
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Final

from sd3.domain.image import Image, open_image
from sd3.domain.image_formats import InvalidImageError
from sd3.errors import FieldError, InvalidRequestError

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MAX_BYTES: Final = 10_000_000
"""Below the 10 MiB that a request to Stability may have, by what its texts can take."""

_JPEG_QUALITY: Final = 95

_EXIF: Final = ("exif", "Raw profile type exif")
"""Where Pillow has EXIF; the second is as ImageMagick writes it."""

_BAD_EXIF: Final = (SyntaxError, ValueError, struct.error)
"""What Pillow raises for EXIF that it cannot read; such an image is not turned."""

_PNG_LEVEL: Final = 1  # half the size of the default is not worth five times its time


class Resizer:
    """Resizes images, and keeps the last one: the calls of a job come with the same, at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: tuple[Image, Image] | None = None

    def resized(self, image: Image, width: int, height: int) -> Image:
        """Resize `image`, or return what it became before; see `resized` below."""
        with self._lock:
            if self._last:
                last, made = self._last
                if last is image and (made.width, made.height) == (width, height):
                    return made
            made = resized(image, width, height)
            self._last = (image, made)
            return made


def resized(image: Image, width: int, height: int) -> Image:
    """Stretch `image` to `width` x `height` pixels, in MAX_BYTES at the most.

    One that has both is returned as it is. Any other is turned as its EXIF says, laid on white
    where it is transparent, and written anew without what else its file holds: as PNG if it was
    one, else as JPEG. Raises InvalidRequestError for an image that cannot be decoded.
    """
    if (image.width, image.height) == (width, height) and len(image.data) <= MAX_BYTES:
        return image
    try:
        canvas = _stretched(image, (width, height))
    except InvalidImageError as error:
        raise _undecodable() from error
    file = BytesIO()
    if image.content_type == "image/png":
        canvas.save(file, "PNG", compress_level=_PNG_LEVEL)
        return Image(file.getvalue(), "image/png", width, height)
    canvas.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Image(file.getvalue(), "image/jpeg", width, height)


def _stretched(image: Image, size: tuple[int, int]) -> "PillowImage.Image":
    from PIL import Image as PillowImage  # noqa: PLC0415 - most calls have no init image to resize
    from PIL import ImageOps  # noqa: PLC0415 - as above

    with open_image(image) as opened:
        opened.draft("RGB", (max(size), max(size)))  # a JPEG need not be decoded in full
        with suppress(*_BAD_EXIF):
            opened.getexif()  # Pillow keeps what it has read
        for name in _EXIF:
            opened.info.pop(name, None)  # else Pillow writes it anew, and fails if it is odd
        ImageOps.exif_transpose(opened, in_place=True)
        resized = _in_8_bits(opened).resize(size, PillowImage.Resampling.LANCZOS)
    canvas = PillowImage.new("RGB", size, "white")
    canvas.paste(resized, mask=resized if resized.mode == "RGBA" else None)
    return canvas


def _in_8_bits(image: "PillowImage.Image") -> "PillowImage.Image":
    if image.mode.startswith("I"):  # 16 bits of grey, of which convert() would cut off the upper
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _undecodable() -> InvalidRequestError:
    field_error = FieldError(("body", "init_image"), "the image cannot be decoded", "picture")
    return InvalidRequestError([field_error], message="The init image cannot be decoded.")
