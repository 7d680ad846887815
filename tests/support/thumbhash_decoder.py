"""A decoder of opaque ThumbHashes, by the formula of the reference implementation of evanw.

That of the package draws one colour: it does not begin anew for each pixel.
"""

from collections.abc import Callable, Iterator
from math import cos, pi

Color = tuple[float, float, float]


def decode(hashed: bytes) -> tuple[float, Callable[[float, float], Color]]:
    """Return the ratio of width to height, and a function from a place (0 to 1) to its colour."""
    head, sides = int.from_bytes(hashed[:3], "little"), int.from_bytes(hashed[3:5], "little")
    is_wide, other = sides >> 15, sides & 7
    columns, rows = (7, other) if is_wide else (other, 7)
    digits = (digit for byte in hashed[5:] for digit in (byte & 15, byte >> 4))
    light = _Channel(max(3, columns), max(3, rows), (head >> 18 & 31) / 31, digits)
    yellow = _Channel(3, 3, (sides >> 3 & 63) / 63 * 1.25, digits)
    red = _Channel(3, 3, (sides >> 9 & 63) / 63 * 1.25, digits)

    def color(x: float, y: float) -> Color:
        lightness = (head & 63) / 63 + light.at(x, y)
        p = (head >> 6 & 63) / 31.5 - 1 + yellow.at(x, y)
        q = (head >> 12 & 63) / 31.5 - 1 + red.at(x, y)
        blue = lightness - 2 / 3 * p
        first = (3 * lightness - blue + q) / 2
        return _byte(first), _byte(first - q), _byte(blue)

    return columns / rows, color


def _byte(light: float) -> float:
    return min(max(255 * light, 0), 255)


class _Channel:
    """The waves of one channel."""

    def __init__(self, columns: int, rows: int, scale: float, digits: Iterator[int]) -> None:
        self._waves = [
            (x, y, (next(digits) / 7.5 - 1) * scale)
            for y in range(rows)
            for x in range(0 if y else 1, columns)
            if x * rows < columns * (rows - y)
        ]

    def at(self, x: float, y: float) -> float:
        return sum(
            2 * height * cos(pi * x * column) * cos(pi * y * row)
            for column, row, height in self._waves
        )
