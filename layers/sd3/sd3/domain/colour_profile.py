"""ICC profiles of RGB spaces that a file only names by their primaries and their curve.

A PNG does so in cICP, or in cHRM and gAMA; AVIF and HEIC in a `colr` box of the kind nclx.
"""

from collections.abc import Sequence
from struct import pack
from types import MappingProxyType
from typing import Final

Matrix = tuple[tuple[float, ...], ...]

SRGB_PRIMARIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of the white, of red, of green and of blue, as in a PNG's cHRM."""

_PRIMARIES: Final = MappingProxyType({
    1: SRGB_PRIMARIES,
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
})  # fmt: skip
"""By the numbers of ITU-T H.273."""

_SDR_CURVES: Final = frozenset((1, 6, 13, 14, 15))
"""H.273's numbers of sRGB's curve and of video's, which viewers show alike. HDR is none of it."""

_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

_D50: Final = (0.9642, 1.0, 0.8249)

_BRADFORD: Final[Matrix] = (
    (0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296),
)  # fmt: skip

_TAGS: Final = (
    (b"rXYZ", 0), (b"gXYZ", 1), (b"bXYZ", 2), (b"rTRC", 3), (b"gTRC", 3), (b"bTRC", 3),
)  # fmt: skip
"""The tags of a profile, and which of its four values each has: the curve is the same for all."""

_GAMMAS: Final = (0.2, 5.0)
"""The least and the largest exponent that is taken seriously."""


def coded_profile(primaries: int, curve: int) -> bytes | None:
    """Make the profile of a space by its numbers in H.273; None for HDR and for unknown ones."""
    if primaries not in _PRIMARIES or curve not in _SDR_CURVES:
        return None
    return rgb_profile(_PRIMARIES[primaries])


def rgb_profile(primaries: Sequence[float], gamma: float | None = None) -> bytes | None:
    """Make the profile of primaries and an exponent, or sRGB's curve; None for senseless ones."""
    if gamma is not None and not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        return None
    try:
        columns = _colorants(primaries)
    except ZeroDivisionError:
        return None
    if not all(-2 < value < 2 for column in columns for value in column):
        return None
    kind, values = (3, _SRGB_CURVE) if gamma is None else (0, (gamma,))
    return _profile(columns, b"para\0\0\0\0" + pack(">HH", kind, 0) + _fixed(values))


def _profile(colorants: Matrix, curve: bytes) -> bytes:
    """Write the header, the table and the values of a profile of version 4."""
    values = [*(b"XYZ \0\0\0\0" + _fixed(colorant) for colorant in colorants), curve]
    start = 128 + 4 + 12 * len(_TAGS)
    places = [(start + sum(map(len, values[:index])), len(values[index])) for index in range(4)]
    table = b"".join(tag + pack(">II", *places[index]) for tag, index in _TAGS)
    header = pack(
        ">I4xI4s4s4s12x4s28x",
        start + sum(map(len, values)), 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp",
    )  # fmt: skip
    return b"".join((header, _fixed(_D50), bytes(48), pack(">I", len(_TAGS)), table, *values))


def _fixed(values: Sequence[float]) -> bytes:
    return pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _colorants(primaries: Sequence[float]) -> Matrix:
    """Return XYZ of red, green and blue, adapted from the space's white to D50 by Bradford."""
    white, *colours = (
        (x / y, 1.0, (1 - x - y) / y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)
    )
    matrix = _transposed(colours)
    amounts = _times(_inverse(matrix), white)
    cones = zip(_times(_BRADFORD, _D50), _times(_BRADFORD, white), strict=True)
    scale = [there / here for there, here in cones]
    adapted = []
    for colour, amount in zip(colours, amounts, strict=True):
        response = _times(_BRADFORD, [amount * value for value in colour])
        scaled = [value * factor for value, factor in zip(response, scale, strict=True)]
        adapted.append(_times(_inverse(_BRADFORD), scaled))
    return tuple(adapted)


def _times(matrix: Matrix, vector: Sequence[float]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def _transposed(rows: Sequence[Sequence[float]]) -> Matrix:
    return tuple(zip(*rows, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    """Invert a matrix of three rows by its cofactors. Raises ZeroDivisionError."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return tuple(tuple(value / determinant for value in row) for row in cofactors)
