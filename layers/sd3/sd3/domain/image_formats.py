"""A reader of PNG, JPEG and WebP files, for their format, their size and their completeness.

It decodes no pixels. It follows PNG's third edition (W3C, 2025), JPEG's ITU-T T.81 annex B, and
WebP's RFC 9649. The number of a file's parts is limited, since a part can cost a decoder more than
its bytes.
"""

import re
import zlib
from collections.abc import Iterator
from struct import error as StructError  # noqa: N812 - `error` alone is unclear
from struct import unpack_from
from typing import Final

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_PNG_MAX_CHUNKS: Final = 16_384  # 20 MB have about 5,000 of the smallest IDATs that encoders write

_PNG_MAX_OTHERS: Final = 256  # other than IDAT; one of 1 kB can hold a profile of 1 MB

_OTHER_FORMATS: Final = (
    (4, b"ftyp", "HEIC, AVIF or a video"), (0, b"GIF8", "a GIF"), (0, b"BM", "a BMP"),
    (0, b"II*\0", "a TIFF or a raw photo"), (0, b"MM\0*", "a TIFF or a raw photo"),
    (0, b"<", "XML such as SVG"), (0, b"%PDF", "a PDF"),
)  # fmt: skip
"""What clients send by mistake: where its signature is, the signature and its name."""

_JPEG_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""A marker that begins a segment or ends the image. Scan data and restart markers do not match."""

_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # the kinds that libjpeg decodes

_JPEG_END: Final = 0xD9

JPEG_SCAN: Final = 0xDA

_JPEG_MAX_SEGMENTS: Final = 1024  # an ICC profile alone can take 255

_JPEG_MAX_SCANS: Final = 100  # encoders write about 10; 32 bytes can cost a pass over all pixels

_JPEG_MAX_GAP: Final = 4096
"""Stray bytes in front of a marker. Programs write a few, and decoders pass over any number. More
of them mean that a length is wrong."""

WEBP_FRAMES: Final = frozenset((b"VP8 ", b"VP8L"))

_WEBP_ANIMATED: Final = 0x02

_WEBP_MAX_CHUNKS: Final = 256  # an image has 6 with all of its metadata


class InvalidImageError(ValueError):
    """An image cannot be used. The message may be shown to clients and quotes no input."""


class OtherFormatError(InvalidImageError):
    """A file is of none of the formats that are taken. `found` is what it seems to be instead."""

    def __init__(self, found: str | None, taken: str = "PNG, JPEG or WebP") -> None:
        super().__init__(f"not a {taken} image" + (f" but {found}" if found else ""))
        self.found = found


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
    other = next(
        (name for position, start, name in _OTHER_FORMATS if data.startswith(start, position)), None
    )
    raise OtherFormatError(other)


def _png_size(data: bytes) -> tuple[int, int]:
    width, height, crc = unpack_from(">II5xI", data, 16)
    if data[8:16] != b"\0\0\0\rIHDR" or zlib.crc32(data[12:29]) != crc:
        raise InvalidImageError("the PNG's header is damaged")
    if any(kind == b"acTL" for kind, _, _ in png_chunks(data)):
        raise InvalidImageError("an animated PNG is not supported")
    return width, height


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each chunk, from its length to its CRC, up to IEND.

    Raises InvalidImageError for too many chunks, and IndexError or StructError for a cut-off file.
    """
    position, others = len(_PNG_SIGNATURE), 0
    for _ in range(_PNG_MAX_CHUNKS):
        length, kind = unpack_from(">I4s", data, position)
        end = position + 12 + length
        unpack_from(">I", data, end - 4)  # the CRC, which ends the chunk
        yield kind, position, end
        if kind == b"IEND":
            return
        others += kind != b"IDAT"
        if others > _PNG_MAX_OTHERS:
            break
        position = end
    raise InvalidImageError("the PNG has too many chunks")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Read the segments and scans up to the first image's end. A camera may append more images."""
    size, scans = None, 0
    for marker, start, _ in jpeg_segments(data):
        if marker == _JPEG_END and size and scans:
            return size
        if marker in _JPEG_FRAMES and not size:
            height, width = unpack_from(">HH", data, start + 5)
            size = (width, height)
        scans += marker == JPEG_SCAN
        if scans > _JPEG_MAX_SCANS:
            raise InvalidImageError("the JPEG has too many scans")
    raise InvalidImageError("the JPEG's header is damaged")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment, up to the marker of the image's end.

    The data of a scan is in its segment. Stray bytes between segments are in none. Raises
    InvalidImageError, and IndexError or StructError for a cut-off file.
    """
    position = 2
    for _ in range(_JPEG_MAX_SEGMENTS):
        start = _next_marker(data, position)
        if start > position + _JPEG_MAX_GAP:
            break
        marker, position = data[start + 1], start + 2
        if marker == _JPEG_END:
            yield marker, start, position
            return
        position += unpack_from(">H", data, position)[0]
        if marker == JPEG_SCAN:
            position = _next_marker(data, position)
        yield marker, start, position
    raise InvalidImageError("the JPEG's header is damaged")


def _next_marker(data: bytes, position: int) -> int:
    found = _JPEG_MARKER.search(data, position)
    if not found:
        raise InvalidImageError("the JPEG is cut off: its end is missing")
    return found.start()


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


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each chunk, without the byte that pads it.

    What follows the image and is no chunk is passed over. Raises InvalidImageError for too many
    chunks, and StructError for a cut-off file.
    """
    end, position = 8 + unpack_from("<I", data, 4)[0], 12
    has_frame = False
    for _ in range(_WEBP_MAX_CHUNKS):
        if position + 8 > end:
            return
        kind, length = unpack_from("<4sI", data, position)
        stop = position + 8 + length
        if stop > len(data):
            if has_frame:
                return
            raise InvalidImageError("the WebP is cut off")
        yield kind, position, stop
        has_frame = has_frame or kind in WEBP_FRAMES
        position = stop + length % 2
    raise InvalidImageError("the WebP has too many chunks")
