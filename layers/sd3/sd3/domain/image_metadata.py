"""The removal of metadata from PNG, JPEG and WebP files, without a change to any pixel.

Metadata can tell the place, the time, the camera and its owner, and hold a preview of what was cut
away. What decoders need for the pixels and their colours is kept. All else is removed, so that
nothing unknown stays. What is kept is written as the standards want it: in a row, with right
lengths, and with nothing behind the image.
"""

import zlib
from collections.abc import Callable
from struct import error as StructError  # noqa: N812 - `error` alone is unclear
from struct import pack
from types import MappingProxyType
from typing import Final, NamedTuple

from sd3.domain.image_formats import (
    WEBP_FRAMES,
    InvalidImageError,
    jpeg_segments,
    png_chunks,
    webp_chunks,
)

_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"

_PNG_PIXELS: Final = frozenset((b"IHDR", b"PLTE", b"IDAT"))

_PNG_COLOURS: Final = MappingProxyType(
    {b"tRNS": None, b"iCCP": None, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
)
"""Chunks with the lengths of their bodies, where the standard fixes one."""

_MAX_PROFILE_BYTES: Final = 1_000_000  # Pillow refuses a PNG with a larger one

_JPEG_PIXELS: Final = frozenset((*range(0xC0, 0xC8), *range(0xC9, 0xD0), *range(0xDA, 0xDE)))
"""Frames, scans and the tables for them."""

_JPEG_EXIF: Final = b"Exif\0\0"

_WEBP_METADATA_FLAGS: Final = 0x0C  # EXIF and XMP


class Stripped(NamedTuple):
    """A file without metadata, and the EXIF block that was removed; empty if it had none."""

    data: bytes
    exif: bytes


def strip_metadata(data: bytes, content_type: str) -> Stripped:
    """Remove the metadata of a file that `read_format` has read. Returns `data` if it has none.

    The EXIF block still says how the image is to be rotated. Raises InvalidImageError.
    """
    try:
        stripped, exif = _STRIP[content_type](data)
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error
    return Stripped(data if stripped == data else stripped, exif)


def _strip_png(data: bytes) -> Stripped:
    view = memoryview(data)
    kept, exif = [view[:8]], b""
    for kind, start, end in png_chunks(data):
        if kind in _PNG_PIXELS or (kind in _PNG_COLOURS and _is_usable(kind, view[start:end])):
            kept.append(view[start:end])
        elif kind == b"eXIf" and not exif and _is_usable(kind, view[start:end]):
            exif = data[start + 8 : end - 4]
    return Stripped(b"".join((*kept, _PNG_END)), exif)


def _is_usable(kind: bytes, chunk: memoryview) -> bool:
    """Check a chunk that decoders can do without: many pass over a damaged one, Pillow does not."""
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if _PNG_COLOURS.get(kind) not in {None, len(chunk) - 12}:
        return False
    return kind != b"iCCP" or _is_profile(chunk)


def _is_profile(chunk: memoryview) -> bool:
    _, _, rest = bytes(chunk[8:-4]).partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(rest[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return rest[:1] == b"\0" and inflater.eof


def _strip_jpeg(data: bytes) -> Stripped:
    view = memoryview(data)
    kept: list[memoryview | bytes] = [view[:2]]
    exif = b""
    for marker, start, end in jpeg_segments(data):
        kept.append(_kept_of_jpeg(marker, view[start:end]))
        if marker == 0xE1 and not exif and data.startswith(_JPEG_EXIF, start + 4):
            exif = data[start + 4 + len(_JPEG_EXIF) : end]
    return Stripped(b"".join((*kept, b"\xff\xd9")), exif)


def _kept_of_jpeg(marker: int, segment: memoryview) -> memoryview | bytes:
    """Return what is kept of a segment: the parts that say how its colours are meant."""
    head = bytes(segment[4:18])
    if marker in _JPEG_PIXELS or (marker == 0xE2 and head.startswith(b"ICC_PROFILE\0")):
        return segment
    if marker == 0xE0 and head.startswith(b"JFIF\0") and len(head) == 14:
        return b"\xff\xe0\0\x10" + head[:12] + b"\0\0"  # without its preview
    if marker == 0xEE and head.startswith(b"Adobe") and len(head) >= 12:
        return b"\xff\xee\0\x0e" + head[:12]
    return b""


def _strip_webp(data: bytes) -> Stripped:
    """Keep the frame, and in an extended file its alpha and colour profile."""
    chunks: dict[bytes, bytes | memoryview] = {}
    view = memoryview(data)
    for kind, start, end in webp_chunks(data):
        chunks.setdefault(kind, view[start + 8 : end])
        if kind in WEBP_FRAMES and b"VP8X" not in chunks:
            break
    exif = bytes(chunks.get(b"EXIF", b""))
    if extended := bytes(chunks.get(b"VP8X", b"")):
        chunks[b"VP8X"] = bytes((extended[0] & ~_WEBP_METADATA_FLAGS, *extended[1:]))
    body: list[bytes | memoryview] = [b"WEBP"]
    for kind in (b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"):
        if kind in chunks:
            chunk = chunks[kind]
            body += (kind, pack("<I", len(chunk)), chunk, bytes(len(chunk) % 2))
    return Stripped(b"".join((b"RIFF", pack("<I", sum(map(len, body))), *body)), exif)


_STRIP: Final = MappingProxyType[str, Callable[[bytes], Stripped]](
    {"image/png": _strip_png, "image/jpeg": _strip_jpeg, "image/webp": _strip_webp}
)
