"""Pictures that are small as files, and different for each seed."""

from functools import lru_cache
from io import BytesIO

from PIL import Image


@lru_cache(maxsize=256)
def drawn(seed: int, width: int = 1024, height: int = 1024, *, kind: str = "png") -> bytes:
    """A picture of this size, of eight by four grey fields that spell the seed in bits."""
    fields = bytes(64 + 128 * (seed >> bit & 1) for bit in range(32))
    image = Image.frombytes("L", (8, 4), fields).resize((width, height), Image.Resampling.NEAREST)
    file = BytesIO()
    image.save(file, kind, **({"compress_level": 1} if kind == "png" else {}))
    return file.getvalue()


def size_of(picture: bytes) -> tuple[int, int]:
    """Decode a picture, all of it, as one that draws from it has to; its size in pixels."""
    with Image.open(BytesIO(picture)) as image:
        image.load()
        return image.size
