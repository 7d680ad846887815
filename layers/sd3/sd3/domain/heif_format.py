"""A reader of AVIF and HEIC files, for their kind, their size and their colours.

It decodes no pixels. Both are HEIF (ISO/IEC 23008-12): boxes of ISO/IEC 14496-12, of which `meta`
says which item is the image to show, and which properties that item has.
"""

from collections.abc import Iterator
from struct import error as StructError  # noqa: N812 - `error` alone is unclear
from struct import unpack_from
from types import MappingProxyType
from typing import Final, NamedTuple

from sd3.domain.image_formats import InvalidImageError

_KINDS: Final = MappingProxyType({
    b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC",
})  # fmt: skip
"""The brands of files whose image AV1 or HEVC can decode, which `mif1` alone does not say."""

_SEQUENCES: Final = frozenset((b"avis", b"msf1", b"hevc", b"hevx"))

_MAX_BRANDS: Final = 64

_MAX_BOXES: Final = 2048
"""The most boxes in another one, and the most items. A phone's photo has some 100 tiles."""


_ITEMS: Final = frozenset((b"hvc1", b"av01", b"grid", b"Exif", b"mime", b"uri ", b"tmap"))
"""Kinds of items that photos have. A file with another one is not decoded: it is rare, and most
holes that were found in libheif were in the decoders of the others."""

_NEEDED: Final = frozenset((b"meta", b"mdat"))

_DAMAGED: Final = "the image's header is damaged"


class Heif(NamedTuple):
    """What a file says of its image: AVIF or HEIC, its size, and its colours as H.273 numbers."""

    kind: str
    width: int
    height: int
    primaries: int = 2
    curve: int = 2


def read_heif(data: bytes) -> Heif:
    """Read the kind, size and colours of the image that the file is to be shown as.

    Raises InvalidImageError for a file that is cut off, animated, or neither AVIF nor HEIC.
    """
    try:
        kind = _kind(data)
        found: dict[bytes, list[int]] = {}
        for name, *place in _boxes(data, 0, len(data)):
            found.setdefault(name, place)
            if found.keys() >= _NEEDED:  # what is behind them does not matter
                start, end = found[b"meta"]
                return _described(data, kind, start + 4, end)
        raise InvalidImageError("the image is cut off")
    except (StructError, IndexError) as error:
        raise InvalidImageError("the image is cut off") from error


def _kind(data: bytes) -> str:
    (length,) = unpack_from(">I", data)
    end = min(length, 8 + 4 * _MAX_BRANDS)
    brands = [data[at : at + 4] for at in (8, *range(16, end, 4))]  # between them is a version
    if brands[0] in _SEQUENCES:
        raise InvalidImageError("an animated AVIF or HEIC is not supported")
    found = next((_KINDS[brand] for brand in brands if brand in _KINDS), None)
    if found is None:
        raise InvalidImageError("not a PNG, JPEG, WebP, AVIF or HEIC image but perhaps a video")
    return found


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its body begins and ends."""
    for _ in range(_MAX_BOXES):
        if start == end:
            return
        length, kind = unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            (length,) = unpack_from(">Q", data, start + 8)
            head = 16
        stop = start + length if length else end
        if stop > end:
            raise InvalidImageError("the image is cut off")
        if stop < start + head:
            raise InvalidImageError(_DAMAGED)
        yield kind, start + head, stop
        start = stop
    raise InvalidImageError("the image has too many parts")


def _described(data: bytes, kind: str, start: int, end: int) -> Heif:
    """Read `meta`, which is a FullBox: its body begins behind a version and flags."""
    boxes = {name: place for name, *place in _boxes(data, start, end)}
    if not {b"pitm", b"iprp", b"iinf"} <= boxes.keys():
        raise InvalidImageError(_DAMAGED)
    if not _kinds_of_items(data, *boxes[b"iinf"]) <= _ITEMS:
        raise InvalidImageError("the image has a part of a kind that is not supported")
    item_start = boxes[b"pitm"][0]
    (item,) = unpack_from(">I" if data[item_start] else ">H", data, item_start + 4)
    size: tuple[int, int] | None = None
    colours = (2, 2)  # unspecified
    for name, at in _properties(data, item, *boxes[b"iprp"]):
        if name == b"ispe":
            width, height = unpack_from(">II", data, at + 4)
            size = (width, height)
        elif name == b"colr" and data[at : at + 4] == b"nclx":
            primaries, curve = unpack_from(">HH", data, at + 4)
            colours = (primaries, curve)
    if size is None:
        raise InvalidImageError(_DAMAGED)
    return Heif(kind, *size, *colours)


def _kinds_of_items(data: bytes, start: int, end: int) -> set[bytes]:
    """Return the kinds of all items; an entry of an old version, which has none, is b""."""
    kinds = set()
    for name, at, _ in _boxes(data, start + (8 if data[start] else 6), end):
        if name != b"infe":
            continue
        place = {2: at + 8, 3: at + 10}.get(data[at])  # behind the item's number and protection
        kinds.add(data[place : place + 4] if place else b"")
    return kinds


def _properties(data: bytes, item: int, start: int, end: int) -> list[tuple[bytes, int]]:
    """Return the kind and the place of each property of an item."""
    container, association = None, None
    for name, *place in _boxes(data, start, end):
        if name == b"ipco" and container is None:
            container = [(kind, at) for kind, at, _ in _boxes(data, *place)]
        elif name == b"ipma" and association is None:
            association = _association(data, item, *place)
    if container is None or association is None:
        raise InvalidImageError(_DAMAGED)
    return [container[index - 1] for index in association if index]


def _association(data: bytes, item: int, start: int, end: int) -> list[int] | None:
    """Read which properties an item has, by their numbers, which begin at 1."""
    head, entries = unpack_from(">II", data, start)
    wide, mask = (">H", 0x7FFF) if head & 1 else (">B", 0x7F)
    name, width = (">I", 4) if head >> 24 else (">H", 2)
    at = start + 8
    for _ in range(min(entries, _MAX_BOXES)):
        (found,) = unpack_from(name, data, at)
        count = data[at + width]
        at += width + 1
        if at > end:
            break
        step = 1 + (head & 1)
        if found == item:
            return [unpack_from(wide, data, at + step * index)[0] & mask for index in range(count)]
        at += step * count
    return None
