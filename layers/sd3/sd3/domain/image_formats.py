"""A reader of PNG, JPEG and WebP files, for their format, their size and their completeness.

It decodes no pixels. It follows PNG's third edition (W3C, 2025), JPEG's ITU-T T.81 annex B, and
WebP's RFC 9649. The number of a file's parts is limited, since a part can cost a decoder more than
its bytes.
"""

import re
import zlib
from struct import error as StructError  # noqa: N812 - `error` alone is unclear
from struct import unpack_from
from typing import Final

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_PNG_MAX_CHUNKS: Final = 16_384  # 20 MB have about 5,000 of the smallest IDATs that encoders write

_PNG_MAX_OTHERS: Final = 256  # other than IDAT; one of 1 kB can hold a profile of 1 MB

_JPEG_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""A marker that begins a segment or ends the image. Scan data and restart markers do not match."""

_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # the kinds that libjpeg decodes

_JPEG_END: Final = 0xD9

_JPEG_SCAN: Final = 0xDA

_JPEG_MAX_SEGMENTS: Final = 1024  # an ICC profile alone can take 255

_JPEG_MAX_SCANS: Final = 100  # encoders write about 10; 32 bytes can cost a pass over all pixels

_JPEG_MAX_GAP: Final = 16  # fill bytes between the segments of a header

_WEBP_ANIMATED: Final = 0x02


class InvalidImageError(ValueError):
    """An image cannot be used. The message may be shown to clients and quotes no input."""


def read_format(data: bytes) -> tuple[str, int, int]:
    """Read the content type, width and height, and check that the file is complete.

    Raises InvalidImageError.
    """
    try:
        content_type, (width, height) = _format_and_size(data)
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error
    if not (width and height):
        raise InvalidImageError("the image has no pixels")
    return content_type, width, height


def _format_and_size(data: bytes) -> tuple[str, tuple[int, int]]:
    if data.startswith(_PNG_SIGNATURE):
        return "image/png", _png_size(data)
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", _jpeg_size(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp", _webp_size(data)
    raise InvalidImageError("not a PNG, JPEG or WebP image")


def _png_size(data: bytes) -> tuple[int, int]:
    width, height, crc = unpack_from(">II5xI", data, 16)
    if data[8:16] != b"\0\0\0\rIHDR" or zlib.crc32(data[12:29]) != crc:
        raise InvalidImageError("the PNG's header is damaged")
    position, others = len(_PNG_SIGNATURE), 0
    for _ in range(_PNG_MAX_CHUNKS):
        length, kind = unpack_from(">I4s", data, position)
        unpack_from(">I", data, position + 8 + length)  # the CRC, which ends the chunk
        if kind == b"IEND":
            return width, height
        if kind == b"acTL":
            raise InvalidImageError("an animated PNG is not supported")
        others += kind != b"IDAT"
        if others > _PNG_MAX_OTHERS:
            break
        position += 12 + length
    raise InvalidImageError("the PNG has too many chunks")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Read the segments and scans up to the first image's end. A camera may append more images."""
    size, scans, position = None, 0, 2
    for _ in range(_JPEG_MAX_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        if not found:
            raise InvalidImageError("the JPEG is cut off")
        if not scans and found.start() > position + _JPEG_MAX_GAP:
            break
        marker, position = data[found.end() - 1], found.end()
        if marker == _JPEG_END:
            if size and scans:
                return size
            break
        (length,) = unpack_from(">H", data, position)
        if marker in _JPEG_FRAMES and not size:
            height, width = unpack_from(">HH", data, position + 3)
            size = (width, height)
        scans += marker == _JPEG_SCAN
        if scans > _JPEG_MAX_SCANS:
            raise InvalidImageError("the JPEG has too many scans")
        position += length
    raise InvalidImageError("the JPEG's header is damaged")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read the size from the first chunk, which is a frame, or VP8X with the canvas size."""
    (length,) = unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise InvalidImageError("the WebP is cut off")
    kind, flags = data[12:16], data[20]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and flags == 0x2F:
        (bits,) = unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind != b"VP8X":
        raise InvalidImageError("the WebP's header is damaged")
    if flags & _WEBP_ANIMATED:
        raise InvalidImageError("an animated WebP is not supported")
    width, height = unpack_from("<I", data, 24)[0] & 0xFFFFFF, unpack_from("<I", data, 26)[0] >> 8
    return width + 1, height + 1
