"""Previews: images that are small enough for a language model to look at."""

from io import BytesIO
from typing import Final

from sd3.domain.image import open_image, read_image

PREVIEW_TYPE: Final = "image/webp"

PREVIEW_SIDE: Final = 512
"""The most pixels of a preview's longer side."""

MAX_PREVIEW_BYTES: Final = 48_000
"""The most bytes of a preview. Clients cut results off after a million characters or earlier."""

_TRIES: Final = ((PREVIEW_SIDE, 75), (PREVIEW_SIDE, 40), (PREVIEW_SIDE // 2, 30))
"""Sides and qualities: the first that is small enough is taken. Even noise is, with the last."""


def make_preview(data: bytes) -> bytes:
    """Make a WebP of at most 512 pixels a side and 48 kB. Raises InvalidImageError."""
    with open_image(read_image(data)) as opened:
        opened.draft("RGB", (PREVIEW_SIDE, PREVIEW_SIDE))  # a JPEG need not be decoded in full
        small = opened.convert("RGB")
        for side, quality in _TRIES:
            small.thumbnail((side, side))
            buffer = BytesIO()
            small.save(buffer, "WEBP", quality=quality)
            if buffer.tell() <= MAX_PREVIEW_BYTES:
                break
    return buffer.getvalue()
