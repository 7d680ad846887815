"""AVIF and HEIC files. Those of HEIC are built box by box around one image of HEVC."""

import base64
from struct import pack
from typing import Final

from PIL import Image

from tests.support.factories.images import exif, saved

PATCHES: Final = ((200, 100, 50), (60, 120, 90), (140, 128, 160))
"""The colours of three squares of 64 pixels, side by side."""

P3: Final = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
"""The primaries of Display P3: x and y of white, red, green and blue."""

IN_SRGB: Final = ((215, 93, 31), (29, 122, 88), (142, 128, 162))
"""What a viewer shows of `PATCHES` in P3, which the tests of the colours compute."""

_HVCC: Final = base64.b64decode(
    "AQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABAClCAQEECAAAAwCeOAAAAwAA"
    "HpADBAgst1JJTXNwENBgQAAABkAAAAMAQmIAAQAIRAHBcoYMAiQ="
)
HEVC: Final = base64.b64decode(
    "AAAAQigBrwa4Y7Dc/cQf//7+Dvof2R9J/4iNoEIXm/7ZV+0/UkT//zpJFIEB9fbez/ZuKH4Irvj2ks4/MNUPQ4b9UU6XgA=="
)
"""`PATCHES` in 192x64 pixels of 4:4:4, as x265 encoded them: the settings, and the data."""


def avif(
    colours: tuple[tuple[int, ...], ...] = PATCHES,
    *,
    orientation: int = 1,
    mode: str = "RGB",
    profile: bytes | None = None,
) -> bytes:
    """Save squares as AVIF, with a phone's EXIF. Pillow writes the orientation as HEIF does."""
    made = Image.new(mode, (64 * len(colours), 64))
    for index, colour in enumerate(colours):
        made.paste(colour, (64 * index, 0, 64 * index + 64, 64))
    options = {"exif": exif(orientation), "icc_profile": profile, "speed": 10, "quality": 98}
    return saved(made, kind="avif", subsampling="4:4:4", **options)


def flat_avif(width: int, height: int, *, mode: str = "RGB") -> bytes:
    """Save one colour as a very small AVIF of any size in pixels."""
    return saved(Image.new(mode, (width, height)), kind="avif", speed=10)


def box(kind: bytes, *bodies: bytes) -> bytes:
    """Build a box."""
    body = b"".join(bodies)
    return pack(">I", len(body) + 8) + kind + body


def heic(
    *,
    brands: bytes = b"heic\0\0\0\0mif1heic",
    size: tuple[int, int] = (192, 64),
    tiles: tuple[int, int] | None = None,
    turns: int = 0,
    profile: bytes | None = None,
    primaries: int = 1,
    more: bytes = b"",
    orientation: int = 1,
) -> bytes:
    """Build a HEIC of `PATCHES`, which says that it has `size`; or of as many tiles, as phones do.

    `turns` are quarter turns, counterclockwise; `orientation` is EXIF's, and says nothing in HEIF.
    `more` are boxes behind the image's properties.
    """
    count = tiles[0] * tiles[1] if tiles else 1
    codes = pack(">4sHHHB", b"nclx", primaries, 13, 6, 0x80)
    properties = [
        box(b"hvcC", _HVCC), box(b"ispe", pack(">III", 0, 192, 64)), box(b"colr", codes),
        box(b"ispe", pack(">III", 0, *size)), box(b"irot", bytes((turns,))),
        *([box(b"colr", b"prof", profile)] if profile else []), more,
    ]  # fmt: skip
    shown = [0x80 | 4, *([] if tiles else [0x80 | 1]), 3, *([6] if profile else []), 0x80 | 5]
    items = {1: (b"grid", shown)} if tiles else {1: (b"hvc1", shown)}
    items |= {2 + n: (b"hvc1", [0x80 | 1, 2, 3]) for n in range(count if tiles else 0)}
    return _file(brands, items, properties, tiles, size, bytes(exif(orientation).tobytes()))


def _file(
    brands: bytes,
    items: dict[int, tuple[bytes, list[int]]],
    properties: list[bytes],
    tiles: tuple[int, int] | None,
    size: tuple[int, int],
    metadata: bytes,
) -> bytes:
    """Write the boxes; the places of data are known once all boxes before it are written."""
    exif_item = len(items) + 1
    kinds = {**{item: kind for item, (kind, _) in items.items()}, exif_item: b"Exif"}
    infos = [
        box(b"infe", pack(">IHH", 2 << 24, item, 0), kind, b"\0") for item, kind in kinds.items()
    ]
    links = box(b"cdsc", pack(">HHH", exif_item, 1, 1))
    if tiles:
        links += box(
            b"dimg", pack(f">HH{len(items) - 1}H", 1, len(items) - 1, *range(2, len(items) + 1))
        )
    associations = b"".join(
        pack(">HB", item, len(ones)) + bytes(ones) for item, (_, ones) in items.items()
    )
    grid = pack(">BBBBHH", 0, 0, tiles[1] - 1, tiles[0] - 1, *size) if tiles else b""
    block = pack(">I", 6) + b"Exif\0\0" + metadata.removeprefix(b"Exif\0\0")
    head, meta = box(b"ftyp", brands), b""
    for _ in range(2):
        data = len(head) + len(meta) + 8
        places = b""
        for item, kind in kinds.items():
            start, length = (data, len(HEVC)) if kind == b"hvc1" else (data + len(HEVC), len(block))
            start, length = (0, len(grid)) if kind == b"grid" else (start, length)
            places += pack(">HHHHII", item, int(kind == b"grid"), 0, 1, start, length)
        meta = box(
            b"meta", bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), pack(">H", 1)),
            box(b"iloc", pack(">IBBH", 1 << 24, 0x44, 0, len(kinds)), places),
            box(b"iinf", pack(">IH", 0, len(kinds)), *infos),
            box(b"iref", bytes(4), links),
            box(b"iprp", box(b"ipco", *properties),
                box(b"ipma", pack(">II", 0, len(items)), associations)),
            box(b"idat", grid),
        )  # fmt: skip
    return head + meta + box(b"mdat", HEVC, block)
