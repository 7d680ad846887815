"""Init images as upstreams get them: upright, without metadata, and in the requested size."""

import struct
from contextlib import suppress
from io import BytesIO
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sd3.domain.image import Image, open_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.image_metadata import strip_metadata
from sd3.errors import FieldError, InvalidRequestError

if TYPE_CHECKING:
    from PIL import Image as PillowImage
    from PIL.ImageFile import ImageFile

MAX_BYTES: Final = 10_000_000
"""A request to Stability may have 10 MiB. The difference leaves room for its text fields."""

_JPEG_QUALITY: Final = 95

_PNG_LEVEL: Final = 1  # the default level halves the size, but takes five times as long

_COMMON_MODES: Final = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA"))
"""Pillow's names of what every decoder knows. CMYK and grey of 16 bits are none of it."""

_RGB_MODES: Final = frozenset(("P", "RGB", "RGBA"))

_MAX_PROFILE_BYTES: Final = 1_000_000

_ORIENTATION: Final = 0x0112

_TURNS: Final = MappingProxyType({
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
})  # fmt: skip
"""The names of Pillow's transpositions that turn an image upright, by its EXIF orientation."""

_QUARTER_TURNS: Final = frozenset(("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"))

_BAD_EXIF: Final = (OSError, SyntaxError, ValueError, struct.error)
"""The exceptions that Pillow raises for unreadable EXIF. Such an image is not rotated."""


class InitImagePreparer:
    """Prepares init images and caches the last one, since the parallel calls of a job share one."""

    def __init__(self, *, any_size: bool = False) -> None:
        """Set up for an upstream that takes init images of `any_size`, or of the requested one."""
        self._any_size = any_size
        self._lock = Lock()
        self._last: tuple[Image, tuple[int, int], Image] | None = None

    def prepare(self, image: Image, width: int, height: int) -> Image:
        """Prepare `image`, or return its cached result; see `prepare_init_image` below."""
        size = (width, height)
        with self._lock:
            if self._last and self._last[0] is image and self._last[1] == size:
                return self._last[2]
            prepared = prepare_init_image(image, width, height, any_size=self._any_size)
            self._last = (image, size, prepared)
            return prepared


def prepare_init_image(image: Image, width: int, height: int, *, any_size: bool = False) -> Image:
    """Return `image` upright and without metadata, in `width` x `height` pixels.

    An upright image of that size, or with `any_size` of any, keeps its pixels: it is not encoded
    again. Any other image is rotated by its EXIF and stretched, and so is one of more than
    MAX_BYTES, CMYK or 16-bit grey. Its transparent pixels become white. It is saved as PNG if it
    was a PNG and else as JPEG, with its profile if that is of RGB. Raises InvalidRequestError for
    an image that cannot be decoded.
    """
    size = (width, height)
    try:
        data, exif = strip_metadata(image.data, image.content_type)
        stripped = image if data is image.data else image._replace(data=data)
        with open_image(stripped) as opened:
            turn = _TURNS.get(_orientation(exif))
            fits = any_size or (opened.size == size and len(data) <= MAX_BYTES)
            if fits and not turn and opened.mode in _COMMON_MODES:
                return stripped
            profile = _rgb_profile(opened)
            canvas = _stretched(opened, size, turn)
    except InvalidImageError as error:
        raise _undecodable() from error
    file = BytesIO()
    if image.content_type == "image/png":
        canvas.save(file, "PNG", compress_level=_PNG_LEVEL, icc_profile=profile)
        return Image(file.getvalue(), "image/png", width, height)
    canvas.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0, icc_profile=profile)
    return Image(file.getvalue(), "image/jpeg", width, height)


def _orientation(exif: bytes) -> int:
    """Read the orientation as EXIF counts it: 1 is upright, as is what cannot be read."""
    from PIL import Image as PillowImage  # noqa: PLC0415 - most calls have no init image

    found = PillowImage.Exif()
    with suppress(*_BAD_EXIF):
        found.load(exif)
        value = found.get(_ORIENTATION)
        return value if isinstance(value, int) else 1
    return 1


def _rgb_profile(opened: "ImageFile") -> bytes | None:
    """Return the colour profile, without which a phone's photo would be paler, if it is of RGB."""
    profile = opened.info.get("icc_profile") or b""
    is_rgb = opened.mode in _RGB_MODES and profile[16:20] == b"RGB " and profile[36:40] == b"acsp"
    return profile if is_rgb and len(profile) <= _MAX_PROFILE_BYTES else None


def _stretched(opened: "ImageFile", size: tuple[int, int], turn: str | None) -> "PillowImage.Image":
    from PIL import Image as PillowImage  # noqa: PLC0415 - as above

    opened.draft("RGB", (max(size), max(size)))  # a JPEG need not be decoded in full
    lying = size[::-1] if turn in _QUARTER_TURNS else size
    resized = _in_8_bits(opened).resize(lying, PillowImage.Resampling.LANCZOS)
    if turn:
        resized = resized.transpose(PillowImage.Transpose[turn])
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
