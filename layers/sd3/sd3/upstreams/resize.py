"""An init image in the size that is asked for, for upstreams whose picture follows it."""

import io
from threading import Lock
from typing import TYPE_CHECKING, Final

from sd3.domain.image import MAX_SIDE, Picture
from sd3.errors import Fault, InvalidRequestError

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES: Final = 10_000_000
"""Below the 10 MiB that a request to Stability may have, by what its texts can take."""

_JPEG_QUALITY: Final = 95

_PNG_LEVEL: Final = 1  # half the size of the default is not worth five times its time


class Resizer:
    """Resizes pictures, and keeps the last one: the calls of a job come with the same, at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: tuple[Picture, Picture] | None = None

    def resized(self, picture: Picture, width: int, height: int) -> Picture:
        """`picture` in this size; see `resized` below."""
        with self._lock:
            if self._last:
                last, made = self._last
                if last is picture and (made.width, made.height) == (width, height):
                    return made
            made = resized(picture, width, height)
            self._last = (picture, made)
            return made


def resized(picture: Picture, width: int, height: int) -> Picture:
    """`picture`, stretched to `width` x `height` pixels, in MAX_BYTES at the most.

    One that has both is returned as it is. Any other is turned as its EXIF says, laid on white
    where it is transparent, and written anew without what else its file holds: as PNG if it was
    one, else as JPEG. Raises InvalidRequestError for a picture that cannot be decoded.
    """
    if (picture.width, picture.height) == (width, height) and len(picture.data) <= MAX_BYTES:
        return picture
    from PIL import Image  # noqa: PLC0415 - most calls have no init image to resize

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        canvas = _drawn(picture, (width, height))
    except (OSError, SyntaxError, ValueError, EOFError, *bombs) as error:
        raise _undecodable() from error
    file = io.BytesIO()
    if picture.content_type == "image/png":
        canvas.save(file, "PNG", compress_level=_PNG_LEVEL)
        return Picture(file.getvalue(), "image/png", width, height)
    canvas.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Picture(file.getvalue(), "image/jpeg", width, height)


def _drawn(picture: Picture, size: tuple[int, int]) -> "Image.Image":
    from PIL import Image, ImageOps  # noqa: PLC0415 - as above

    with Image.open(io.BytesIO(picture.data), formats=("PNG", "JPEG", "WEBP")) as opened:
        if opened.size != (picture.width, picture.height) or max(opened.size) > MAX_SIDE:
            raise ValueError  # not the header that was checked
        opened.draft("RGB", (max(size), max(size)))  # a JPEG need not be decoded in full
        ImageOps.exif_transpose(opened, in_place=True)
        image = _in_8_bits(opened).resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", size, "white")
    canvas.paste(image, mask=image if image.mode == "RGBA" else None)
    return canvas


def _in_8_bits(image: "Image.Image") -> "Image.Image":
    if image.mode.startswith("I"):  # 16 bits of grey, of which convert() would cut off the upper
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _undecodable() -> InvalidRequestError:
    fault = Fault(("body", "init_image"), "the picture cannot be decoded", "picture")
    return InvalidRequestError([fault], message="The init image cannot be decoded.")
