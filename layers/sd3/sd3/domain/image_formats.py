"""What PNG, JPEG and WebP files say of themselves: format, size, and whether all is there.

PNG is read by its third edition (W3C, 2025), JPEG by ITU-T T.81 annex B, WebP by RFC 9649.
"""

import re
import zlib
from collections.abc import Iterator
from struct import error as StructError  # noqa: N812 - its own name, `error`, says too little
from struct import unpack_from
from typing import Final, NamedTuple

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"

_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

_PNG_LETTERS: Final = {b"IHDR": "H", b"PLTE": "P", b"IDAT": "D", b"IEND": "E"}

_PNG_ORDER: Final = re.compile("Hx?P?x?Dx?E")  # "x": chunks that a decoder may skip

_PNG_ANCILLARY: Final = 0x20

_PNG_MAX_CHUNKS: Final = 16_384  # 4.5 MB in the smallest IDATs that encoders write are some 1,100

_PNG_ADAM7: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip

_INFLATE_FROM: Final = 1 << 16  # bytes: what zlib leaves over is copied, so it is fed in slices

_INFLATE_TO: Final = 1 << 18

_JPEG_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # the kinds that libjpeg decodes

_JPEG_TABLES: Final = frozenset({0xC4, 0xCC, *range(0xDB, 0xF0), 0xFE})

_JPEG_MAX_SEGMENTS: Final = 1024  # an ICC profile alone can take 255

_WEBP_MAX_CHUNKS: Final = 64

_WEBP_ANIMATED: Final = 0x02


class InvalidImageError(ValueError):
    """Not an image that can be used; the message is fit for a client and quotes no input."""


class _PngHeader(NamedTuple):
    width: int
    height: int
    depth: int
    color: int
    interlaced: int


def read_format(data: bytes) -> tuple[str, int, int]:
    """Name content type, width and height, and see that the file has its end.

    Raises InvalidImageError.
    """
    try:
        content_type, (width, height) = _format_and_size(data)
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error
    if not (width and height):
        raise InvalidImageError("the image has no pixels")
    return content_type, width, height


def check_png_pixels(data: bytes) -> None:
    """Inflate a whole PNG's pixels, without keeping them, and count them against its header.

    `data` is a PNG by read_format. Raises InvalidImageError, also for a wrong CRC or chunk order.
    """
    header = _png_header(data)
    left = _png_raw_bytes(header)
    inflate = zlib.decompressobj()
    try:
        for piece in _png_pixel_data(data, with_palette=header.color == 3):
            left -= _inflated_bytes(inflate, piece, at_most=left)
    except (StructError, zlib.error) as error:
        raise InvalidImageError("the PNG is damaged") from error
    if left or not inflate.eof:
        raise InvalidImageError("the PNG holds fewer pixels than its header says")


def _format_and_size(data: bytes) -> tuple[str, tuple[int, int]]:
    if data.startswith(_PNG_SIGNATURE):
        header = _png_header(data)
        if data.rfind(_PNG_END) < 0:
            raise InvalidImageError("the PNG is cut off")
        return "image/png", header[:2]
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", _jpeg_size(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp", _webp_size(data)
    raise InvalidImageError("not a PNG, JPEG or WebP image")


def _png_header(data: bytes) -> _PngHeader:
    width, height, depth, color, compression, filtering, interlaced, crc = unpack_from(
        ">IIBBBBBI", data, 16
    )
    if data[8:16] != b"\0\0\0\rIHDR" or zlib.crc32(data[12:29]) != crc:
        raise InvalidImageError("the PNG's header is damaged")
    if depth not in _PNG_DEPTHS.get(color, ()) or compression or filtering or interlaced > 1:
        raise InvalidImageError("the PNG is of an unknown kind")
    return _PngHeader(width, height, depth, color, interlaced)


def _inflated_bytes(inflate: "zlib._Decompress", piece: bytes | memoryview, *, at_most: int) -> int:
    count = 0
    while piece and not inflate.eof:
        raw = inflate.decompress(piece, _INFLATE_TO)
        count += len(raw)
        if count > at_most:
            raise InvalidImageError("the PNG holds more pixels than its header says")
        piece = inflate.unconsumed_tail
    return count


def _png_raw_bytes(header: _PngHeader) -> int:
    """Count the bytes of all rows, each with its filter byte; no side is below MIN_SIDE."""
    bits = header.depth * _PNG_CHANNELS[header.color]
    total = 0
    for x, y, across, down in _PNG_ADAM7 if header.interlaced else ((0, 0, 1, 1),):
        columns = -(-(header.width - x) // across)
        rows = -(-(header.height - y) // down)
        total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _png_pixel_data(data: bytes, *, with_palette: bool) -> Iterator[memoryview]:
    """Yield the IDAT bytes in slices; check each chunk's CRC, and their order at the end."""
    view, position, order = memoryview(data), len(_PNG_SIGNATURE), ""
    for _ in range(_PNG_MAX_CHUNKS):
        length, kind = unpack_from(">I4s", data, position)
        body = view[position + 8 : position + 8 + length]
        if zlib.crc32(body, zlib.crc32(kind)) != unpack_from(">I", data, position + 8 + length)[0]:
            raise InvalidImageError("the PNG is damaged")
        position += 12 + length
        letter = _PNG_LETTERS.get(kind) or ("x" if kind[0] & _PNG_ANCILLARY else "?")
        if letter not in "Dx" or not order.endswith(letter):
            order += letter
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            for start in range(0, length, _INFLATE_FROM):
                yield body[start : start + _INFLATE_FROM]
    if not _PNG_ORDER.fullmatch(order) or (with_palette and "P" not in order):
        raise InvalidImageError("the PNG's chunks are not in order")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the first scan; every step takes one segment or one fill byte."""
    size, position = None, 2
    for _ in range(_JPEG_MAX_SEGMENTS):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        (length,) = unpack_from(">H", data, position + 2)
        if marker == 0xDA and size:
            if data.rfind(b"\xff\xd9", position + 2 + length) < 0:
                raise InvalidImageError("the JPEG is cut off")
            return size
        if marker in _JPEG_FRAMES and not size:
            height, width, components = unpack_from(">HHB", data, position + 5)
            if length != 8 + 3 * components:
                break
            size = (width, height)
        elif marker not in _JPEG_TABLES:
            break
        position += 2 + length
    raise InvalidImageError("the JPEG's header is damaged")


def _webp_size(data: bytes) -> tuple[int, int]:
    if unpack_from("<I", data, 4)[0] != len(data) - 8:
        raise InvalidImageError("the WebP is cut off, or longer than it says")
    if data[12:16] != b"VP8X":
        return _webp_frame_size(data, 12)
    if data[20] & _WEBP_ANIMATED:
        raise InvalidImageError("an animated WebP is not supported")
    canvas = (
        (unpack_from("<I", data, 24)[0] & 0xFFFFFF) + 1,
        (unpack_from("<I", data, 26)[0] >> 8) + 1,
    )
    position = 12
    for _ in range(_WEBP_MAX_CHUNKS):
        kind, length = unpack_from("<4sI", data, position)
        if kind in {b"VP8 ", b"VP8L"}:
            if _webp_frame_size(data, position) != canvas:
                break
            return canvas
        position += 8 + length + length % 2
    raise InvalidImageError("the WebP holds no frame of the size that its header says")


def _webp_frame_size(data: bytes, position: int) -> tuple[int, int]:
    kind, length = unpack_from("<4sI", data, position)
    start = position + 8
    if kind == b"VP8 " and not data[start] & 1 and data[start + 3 : start + 6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in unpack_from("<HH", data, start + 6))
    elif kind == b"VP8L" and data[start] == 0x2F and not data[start + 4] >> 5:
        (bits,) = unpack_from("<I", data, start + 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise InvalidImageError("the WebP's frame header is damaged")
    if start + length > len(data):
        raise InvalidImageError("the WebP is cut off")
    return width, height
