"""Images that are small as files, and different for each seed."""

from functools import lru_cache
from io import BytesIO

from PIL import Image


@lru_cache(maxsize=256)
def generated(seed: int, width: int = 1024, height: int = 1024, *, kind: str = "png") -> bytes:
    """Make an image of this size, of eight by four grey fields that encode the seed in bits."""
    fields = bytes(64 + 128 * (seed >> bit & 1) for bit in range(32))
    image = Image.frombytes("L", (8, 4), fields).resize((width, height), Image.Resampling.NEAREST)
    file = BytesIO()
    image.save(file, kind, **({"compress_level": 1} if kind == "png" else {}))
    return file.getvalue()


def size_of(image: bytes) -> tuple[int, int]:
    """Decode all of an image, as whoever starts from it has to, and name its size in pixels."""
    with Image.open(BytesIO(image)) as decoded:
        decoded.load()
        return decoded.size
