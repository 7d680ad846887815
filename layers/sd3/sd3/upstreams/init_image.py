"""Resizing of init images, for upstreams that generate images in the size of the init image."""

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
"""A request to Stability may have 10 MiB. The difference leaves room for its text fields."""

_JPEG_QUALITY: Final = 95

_EXIF: Final = ("exif", "Raw profile type exif")
"""Where Pillow stores EXIF. The second key is for EXIF as ImageMagick writes it."""

_BAD_EXIF: Final = (SyntaxError, ValueError, struct.error)
"""The exceptions that Pillow raises for unreadable EXIF. Such an image is not rotated."""

_PNG_LEVEL: Final = 1  # the default level halves the size, but takes five times as long


class Resizer:
    """Resizes images and caches the last one, since the parallel calls of a job share one image."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: tuple[Image, Image] | None = None

    def resized(self, image: Image, width: int, height: int) -> Image:
        """Resize `image`, or return its cached result; see `resized` below."""
        with self._lock:
            if self._last:
                last, made = self._last
                if last is image and (made.width, made.height) == (width, height):
                    return made
            made = resized(image, width, height)
            self._last = (image, made)
            return made


def resized(image: Image, width: int, height: int) -> Image:
    """Stretch `image` to `width` x `height` pixels, in at most MAX_BYTES.

    An image that already meets both limits is returned unchanged. Any other image is rotated by
    its EXIF, and its transparent pixels become white. It is saved without its metadata, as PNG if
    it was a PNG and else as JPEG. Raises InvalidRequestError for an image that cannot be decoded.
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
            opened.getexif()  # Pillow caches it, so that exif_transpose below still finds it
        for name in _EXIF:
            opened.info.pop(name, None)  # otherwise Pillow saves it again, and fails if it is odd
        ImageOps.exif_transpose(opened, in_place=True)
        resized = _in_8_bits(opened).resize(size, PillowImage.Resampling.LANCZOS)
    canvas = PillowImage.new("RGB", size, "white")
    canvas.paste(resized, mask=resized if resized.mode == "RGBA" else None)
    return canvas


def _in_8_bits(image: "PillowImage.Image") -> "PillowImage.Image":
    if image.mode.startswith("I"):  # 16-bit grey: convert() alone would clip the high values
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _undecodable() -> InvalidRequestError:
    field_error = FieldError(("body", "init_image"), "the image cannot be decoded", "picture")
    return InvalidRequestError([field_error], message="The init image cannot be decoded.")
