"""ICC profiles of grey and of CMYK, written tag by tag; those of RGB are the package's own."""

from collections.abc import Mapping
from itertools import product
from struct import pack

D50 = (0.9642, 1.0, 0.8249)

INKS = {(1, 0, 0): (62, -20, -28), (0, 1, 0): (52, 45, 2), (0, 0, 1): (88, -4, 60)}
"""The Lab that cyan, magenta and yellow have on this printer's paper, all within sRGB."""


def grey_profile(gamma: float) -> bytes:
    """Write a profile of grey with an exponent."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + pack(">IIH", 0, 1, round(gamma * 256))})


def faded_profile() -> bytes:
    """Write a profile of grey whose black reflects 2 % of the light, as a print's does."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + pack(">IIHH", 0, 2, 1311, 65535)})


def cmyk_profile() -> bytes:
    """Write a profile of a printer whose inks are `INKS`; any two of them are grey, K is black."""
    corners = bytearray()
    for *inks, black in product((0, 1), repeat=4):
        paper = (100, 0, 0) if not any(inks) else (40, 0, 0)
        lightness, a, b = (0, 0, 0) if black else INKS.get((inks[0], inks[1], inks[2]), paper)
        corners += bytes((round(lightness * 2.55), a + 128, b + 128))
    ramp = bytes(range(256))
    identity = (65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + pack(">I4B9I", 0, 4, 3, 2, 0, *identity) + ramp * 4 + corners + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table}, kind=b"prtr")


def _profile(
    space: bytes, connection: bytes, tags: Mapping[bytes, bytes], *, kind: bytes = b"mntr"
) -> bytes:
    white = pack(">3i", *(round(value * 65536) for value in D50))
    tags = {**tags, b"wtpt": b"XYZ \0\0\0\0" + white}
    table, body = b"", b""
    for name, value in tags.items():
        table += name + pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = pack(
        ">I4xI4s4s4s12x4s28x",
        132 + len(table) + len(body), 0x02400000, kind, space, connection, b"acsp",
    )  # fmt: skip
    return head + white + bytes(48) + pack(">I", len(tags)) + table + body
