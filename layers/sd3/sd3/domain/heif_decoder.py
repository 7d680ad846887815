"""A program that decodes the AVIF or HEIC of its standard input to a JPEG on its standard output.

It runs in a process of its own, since the decoders are large, and only they know how much memory
a file takes: a bound of the process' memory and time is a bound of every file's.
"""

import resource
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Final

from sd3.domain.heif_format import read_heif
from sd3.domain.image import MAX_SIDE
from sd3.domain.orientation import turn_of

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MEMORY_BYTES: Final = 448 * 1024 * 1024
"""An image of 4096 x 4096 pixels, in AVIF with alpha, takes most."""

CPU_SECONDS: Final = 15

_KEPT_SIDE: Final = 1536
"""The most pixels of the shorter side that are kept: no size that can be requested needs more."""

_JPEG_QUALITY: Final = 95


def main() -> None:
    """Decode and convert one file. Any exception ends the process with status 1."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    sys.stdout.buffer.write(jpeg_of(sys.stdin.buffer.read()))


def jpeg_of(data: bytes) -> bytes:
    """Make a JPEG in sRGB, upright, on white, and no larger than any request needs."""
    from sd3.domain.colour_profile import coded_profile  # noqa: PLC0415 - not before the bounds
    from sd3.domain.colours import conversion_of, in_8_bits  # noqa: PLC0415

    heif = read_heif(data)
    image, turn = _decoded_heic(data) if heif.kind == "HEIC" else _decoded_avif(data)
    if max(image.size) > MAX_SIDE:
        raise ValueError("the file has more pixels than its header says")
    profile = image.info.get("icc_profile") or coded_profile(heif.primaries, heif.curve)
    conversion = conversion_of(image, profile)
    image = _small(in_8_bits(image, conversion.mode if conversion else "RGB"))
    if conversion:
        image = conversion.apply(image)
    return _saved(image, turn)


def _decoded_heic(data: bytes) -> tuple["PillowImage.Image", None]:
    """Decode the image to be shown. libheif turns it, and its EXIF no longer counts."""
    import pillow_heif  # noqa: PLC0415 - not before the bounds
    from PIL import Image as PillowImage  # noqa: PLC0415

    options = pillow_heif.options
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    options.DECODE_THREADS = 1  # each takes memory, and a function has less than one CPU
    file = pillow_heif.open_heif(data)
    found = file[file.primary_index]
    pixels = found.data  # before the size, which decoding can change
    image = PillowImage.frombytes(found.mode, found.size, pixels, "raw", found.mode, found.stride)
    image.info["icc_profile"] = found.info.get("icc_profile")
    return image, None


def _decoded_avif(data: bytes) -> tuple["PillowImage.Image", str | None]:
    """Decode the image to be shown, and read how it is turned, which Pillow says as EXIF."""
    from PIL import AvifImagePlugin  # noqa: PLC0415 - not before the bounds

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    image = AvifImagePlugin.AvifImageFile(BytesIO(data))
    if image.is_animated:
        raise ValueError("the file is animated")
    image.load()
    return image, turn_of(image.info.get("exif", b""))


def _small(image: "PillowImage.Image") -> "PillowImage.Image":
    from PIL import Image as PillowImage  # noqa: PLC0415 - not before the bounds

    zoom = _KEPT_SIDE / min(image.size)
    if zoom >= 1:
        return image
    size = (round(image.width * zoom), round(image.height * zoom))
    return image.resize(size, PillowImage.Resampling.LANCZOS)


def _saved(image: "PillowImage.Image", turn: str | None) -> bytes:
    """Turn an image upright, put it on white, and save it as JPEG."""
    from PIL import Image as PillowImage  # noqa: PLC0415 - not before the bounds

    if turn:
        image = image.transpose(PillowImage.Transpose[turn])
    canvas = PillowImage.new("RGB", image.size, "white")
    canvas.paste(image, mask=image if image.mode == "RGBA" else None)
    file = BytesIO()
    canvas.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()


if __name__ == "__main__":
    main()
