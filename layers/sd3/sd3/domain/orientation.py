"""The orientation of EXIF: how an image is turned for its viewer."""

import struct
from contextlib import suppress
from types import MappingProxyType
from typing import Final

_ORIENTATION: Final = 0x0112

_TURNS: Final = MappingProxyType({
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
})  # fmt: skip
"""The names of Pillow's transpositions that turn an image upright, by its EXIF orientation."""

QUARTER_TURNS: Final = frozenset(("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"))

_BAD_EXIF: Final = (OSError, SyntaxError, ValueError, struct.error)
"""The exceptions that Pillow raises for unreadable EXIF. Such an image is not rotated."""


def turn_of(exif: bytes) -> str | None:
    """Return the transposition that turns an image of this EXIF upright.

    It is None for an upright image, and where that cannot be read.
    """
    from PIL import Image as PillowImage  # noqa: PLC0415 - most calls have no init image

    found = PillowImage.Exif()
    with suppress(*_BAD_EXIF):
        found.load(exif)
        value = found.get(_ORIENTATION)
        return _TURNS.get(value) if isinstance(value, int) else None
    return None
