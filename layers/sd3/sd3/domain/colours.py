"""Colours as a viewer shows them: the conversion to sRGB, which models and upstreams assume.

The intent is relative colorimetric with black point compensation, as in Photoshop: a colour that
sRGB has stays that colour, and shades do not merge into black. Browsers differ from it for
profiles with perceptual tables only, which are mostly those of CMYK.
"""

import struct
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sd3.domain.colour_profile import SRGB_PRIMARIES, coded_profile, rgb_profile
from sd3.domain.image_formats import png_chunks

if TYPE_CHECKING:
    from PIL import Image as PillowImage
    from PIL.ImageFile import ImageFile

MAX_PROFILE_BYTES: Final = 1_000_000

_MODES: Final = MappingProxyType({b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"})
"""Pillow's modes of pixels, by the colour space that a profile is of."""

_UNSEEN: Final = 2
"""The largest difference, of 255, that leaves an image as it is. sRGB has profiles of many makers,
which differ by 1."""

_STEPS: Final = (0, 51, 102, 153, 204, 255)


_SRGB_GAMMA: Final = 0.45455
"""The gAMA that the standard wants beside an sRGB image, for sRGB's curve."""


class Conversion(NamedTuple):
    """The conversion to sRGB of an image in Pillow's `mode`, L, RGB or CMYK."""

    mode: str
    transform: Any

    def apply(self, image: "PillowImage.Image") -> "PillowImage.Image":
        """Convert an image, of which the alpha stays, to RGB or RGBA."""
        from PIL import ImageCms  # noqa: PLC0415 - most images need no conversion

        plain = image.convert(self.mode)
        converted: PillowImage.Image = ImageCms.applyTransform(plain, self.transform)  # type: ignore[assignment]
        if image.has_transparency_data:
            converted.putalpha(image.getchannel("A"))
        return converted


def conversion_of(opened: "PillowImage.Image", profile: bytes | None) -> Conversion | None:
    """Return what makes sRGB of an image of this profile.

    It is None where that would change nothing to be seen, and for a profile that is damaged, too
    large or of other colours than the image's: viewers ignore such a one.
    """
    if not profile or len(profile) > MAX_PROFILE_BYTES or profile[36:40] != b"acsp":
        return None
    mode = _MODES.get(profile[16:20])
    is_of_image = (mode == "CMYK") == (opened.mode == "CMYK") and (
        mode != "L" or opened.mode in {"1", "L", "LA", "I", "I;16"}
    )
    if mode is None or not is_of_image:
        return None
    from PIL import ImageCms  # noqa: PLC0415 - most images have no profile

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    conversion = Conversion(mode, transform)
    return conversion if _is_seen(conversion) else None


def _is_seen(conversion: Conversion) -> bool:
    """Return whether a conversion changes any of the colours that are tried."""
    from PIL import Image as PillowImage  # noqa: PLC0415 - as above
    from PIL import ImageChops  # noqa: PLC0415

    if conversion.mode == "CMYK":
        return True
    tried = bytes(value for r in _STEPS for g in _STEPS for b in _STEPS for value in (r, g, b))
    patches = PillowImage.frombytes("RGB", (len(tried) // 3, 1), tried).convert(conversion.mode)
    changed = ImageChops.difference(conversion.apply(patches), patches.convert("RGB"))
    return max(most for _, most in changed.getextrema()) > _UNSEEN  # type: ignore[misc]


def profile_of(opened: "ImageFile", data: bytes) -> bytes | None:
    """Return the profile of a file, made of its cICP, cHRM and gAMA if it is a PNG of these."""
    found: bytes | None = opened.info.get("icc_profile")
    if opened.format != "PNG":
        return found
    chunks = {
        kind: data[start + 8 : end - 4]
        for kind, start, end in png_chunks(data)
        if kind in {b"cICP", b"sRGB", b"cHRM", b"gAMA"}
    }
    if code := chunks.get(b"cICP"):
        return coded_profile(*code[:2])
    if found or b"sRGB" in chunks or not chunks:
        return found
    primaries = _numbers(chunks.get(b"cHRM")) or SRGB_PRIMARIES
    (gamma,) = _numbers(chunks.get(b"gAMA")) or (_SRGB_GAMMA,)
    if gamma == _SRGB_GAMMA:
        return rgb_profile(primaries)
    return rgb_profile(primaries, 1 / gamma) if gamma else None


def _numbers(body: bytes | None) -> tuple[float, ...]:
    """Read the numbers of a cHRM or gAMA, which are in units of 1/100000."""
    values = struct.unpack(f">{len(body) // 4}I", body) if body else ()
    return tuple(value / 100_000 for value in values)


def in_8_bits(image: "PillowImage.Image", mode: str = "RGB") -> "PillowImage.Image":
    """Convert an image to `mode`, which is L, RGB or CMYK, with alpha if it has some."""
    if image.mode.startswith("I"):  # 16-bit grey: convert() alone would clip the high values
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    with_alpha = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    mode = with_alpha if image.has_transparency_data else mode
    return image if image.mode == mode else image.convert(mode)
