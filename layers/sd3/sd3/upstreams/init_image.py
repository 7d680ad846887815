"""Init images as upstreams get them: upright, in sRGB, without metadata, in the requested shape."""

import math
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Final

from sd3.domain.image import Image, open_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.image_metadata import strip_metadata
from sd3.domain.orientation import QUARTER_TURNS, turn_of
from sd3.domain.request import InitImageFit
from sd3.errors import FieldError, InvalidRequestError

if TYPE_CHECKING:
    from PIL import Image as PillowImage
    from PIL.ImageFile import ImageFile

    from sd3.domain.colours import Conversion

MAX_BYTES: Final = 10_000_000
"""A request to Stability may have 10 MiB. The difference leaves room for its text fields."""

_JPEG_QUALITY: Final = 95

_PNG_LEVEL: Final = 1  # the default level halves the size, but takes five times as long

_COMMON_MODES: Final = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA"))
"""Pillow's names of what every decoder knows. CMYK and grey of 16 bits are none of it."""


class InitImagePreparer:
    """Prepares init images and caches the last one, since the parallel calls of a job share one."""

    def __init__(self, *, any_size: bool = False) -> None:
        """Set up for an upstream that takes init images of `any_size`, or of the requested one."""
        self._any_size = any_size
        self._lock = Lock()
        self._last: tuple[Image, tuple[int, int, InitImageFit | None], Image] | None = None

    def prepare(
        self, image: Image, width: int, height: int, fit: InitImageFit | None = None
    ) -> Image:
        """Prepare `image`, or return its cached result; see `prepare_init_image` below."""
        form = (width, height, fit)
        with self._lock:
            if self._last and self._last[0] is image and self._last[1] == form:
                return self._last[2]
            prepared = prepare_init_image(image, *form, any_size=self._any_size)
            self._last = (image, form, prepared)
            return prepared


def prepare_init_image(
    image: Image,
    width: int,
    height: int,
    fit: InitImageFit | None = None,
    *,
    any_size: bool = False,
) -> Image:
    """Return `image` upright, in sRGB and without metadata, in `width` x `height` pixels.

    An upright sRGB image of that size, or with `any_size` of its shape, keeps its pixels: it is not
    encoded again. Any other image is rotated by its EXIF, fitted and converted to sRGB, and so is
    one of more than MAX_BYTES, CMYK or 16-bit grey. Its transparent pixels become white. It is
    saved as PNG if it was a PNG and else as JPEG, without a profile. Raises InvalidRequestError for
    an image that cannot be decoded.
    """
    # Imported here, since most calls have no init image.
    from sd3.domain.colours import conversion_of, profile_of  # noqa: PLC0415

    size = (width, height)
    try:
        data, exif = strip_metadata(image.data, image.content_type)
        stripped = image if data is image.data else image._replace(data=data)
        with open_image(stripped) as opened:
            turn = turn_of(exif)
            conversion = conversion_of(opened, profile_of(opened, data))
            fits = opened.size == size and len(data) <= MAX_BYTES
            fits = fits or (any_size and (fit == "stretch" or _has_shape(opened.size, size)))
            if fits and not turn and not conversion and opened.mode in _COMMON_MODES:
                return stripped
            canvas = _fitted(opened, size, turn, fit, conversion)
    except InvalidImageError as error:
        raise _undecodable() from error
    file = BytesIO()
    if image.content_type == "image/png":
        canvas.save(file, "PNG", compress_level=_PNG_LEVEL)
        return Image(file.getvalue(), "image/png", width, height)
    canvas.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Image(file.getvalue(), "image/jpeg", width, height)


def _has_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    return size[0] * other[1] == size[1] * other[0]


def _fitted(
    opened: "ImageFile",
    size: tuple[int, int],
    turn: str | None,
    fit: InitImageFit | None,
    conversion: "Conversion | None",
) -> "PillowImage.Image":
    """Scale and cut an image, convert its colours, turn it, and put it on white."""
    from PIL import Image as PillowImage  # noqa: PLC0415 - most calls have no init image

    from sd3.domain.colours import in_8_bits  # noqa: PLC0415

    lying = size[::-1] if turn in QUARTER_TURNS else size
    inner, share = _placed(opened.size, lying, fit)
    whole = (math.ceil(inner[0] / share[0]), math.ceil(inner[1] / share[1]))
    opened.draft("RGB", whole)  # a JPEG need not be decoded in full
    left, top = (opened.width * (1 - share[0]) / 2, opened.height * (1 - share[1]) / 2)
    box = (left, top, opened.width - left, opened.height - top)
    plain = in_8_bits(opened, conversion.mode if conversion else "RGB")
    image = plain.resize(inner, PillowImage.Resampling.LANCZOS, box=box)
    if conversion:
        image = conversion.apply(image)
    if turn:
        image = image.transpose(PillowImage.Transpose[turn])
    canvas = PillowImage.new("RGB", size, "white")
    at = ((size[0] - image.width) // 2, (size[1] - image.height) // 2)
    canvas.paste(image, at, mask=image if image.mode == "RGBA" else None)
    return canvas


def _placed(
    size: tuple[int, int], into: tuple[int, int], fit: InitImageFit | None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Return the size that an image gets, and which share of its width and height is seen."""
    ratio = size[0] * into[1] / (size[1] * into[0])  # above 1: it is too wide
    across, down = min(ratio, 1.0), min(1 / ratio, 1.0)
    if fit == "stretch":
        return into, (1.0, 1.0)
    if fit == "contain":
        return (max(round(into[0] * across), 1), max(round(into[1] * down), 1)), (1.0, 1.0)
    return into, (down, across)


def _undecodable() -> InvalidRequestError:
    field_error = FieldError(("body", "init_image"), "the image cannot be decoded", "picture")
    return InvalidRequestError([field_error], message="The init image cannot be decoded.")
