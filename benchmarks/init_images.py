"""Init images of clients that take the most memory: large ones, and ones hard to decode."""

import random
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

from PIL import Image

from benchmarks.servers import RGBA, png

SIDE: Final = 4096
MAX_BYTES: Final = 20_000_000
_UPRIGHT: Final = 1
_QUARTER_TURN: Final = 6
_ORIENTATION: Final = 0x0112


def _noisy(mode: str, noise_bytes: int) -> Image.Image:
    """Make an image whose first bytes are noise, and the rest one colour."""
    size = SIDE * SIDE * len(mode.replace("I;16", "LL"))
    noise = random.Random(0)  # noqa: S311 - the same image in every run, no secret
    data = noise.randbytes(noise_bytes) + bytes([128]) * (size - noise_bytes)
    return Image.frombytes(mode, (SIDE, SIDE), data)


def _file(image: Image.Image, kind: str, turn: int = _QUARTER_TURN, **options: Any) -> bytes:
    """Write an image, by default one that lies on its side, so that it has to be turned."""
    exif = Image.Exif()
    exif[_ORIENTATION] = turn
    file = BytesIO()
    image.save(file, kind, exif=exif, **options)
    data = file.getvalue()
    if len(data) > MAX_BYTES:
        msg = f"a {kind} of {len(data)} bytes is larger than an upload may be"
        raise ValueError(msg)
    return data


INIT_IMAGES: Final[Mapping[str, Callable[[], bytes]]] = {
    "a lossless WebP with alpha": lambda: _file(
        _noisy("RGBA", 16_000_000), "WEBP", lossless=True, quality=0, method=0
    ),
    "an upright PNG of 19 MB": lambda: _file(
        _noisy("RGB", 19_000_000), "PNG", turn=_UPRIGHT, compress_level=1
    ),
    "a PNG of 8.4 MB in the requested size": lambda: png(1024, bits=16, colour=RGBA),
    "a lossy WebP with alpha": lambda: _file(_noisy("RGBA", 10_000_000), "WEBP", quality=80),
    "a PNG with alpha": lambda: _file(_noisy("RGBA", 19_000_000), "PNG", compress_level=1),
    "a PNG of 16-bit grey": lambda: _file(_noisy("I;16", 19_000_000), "PNG", compress_level=1),
    "a progressive JPEG": lambda: _file(
        _noisy("RGB", 10_000_000), "JPEG", quality=90, progressive=True, subsampling=0
    ),
    "a progressive CMYK JPEG": lambda: _file(
        _noisy("CMYK", 10_000_000), "JPEG", quality=90, progressive=True, subsampling=0
    ),
}
"""By name. Each is made when it is needed, since that takes seconds."""
