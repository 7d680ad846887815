"""XMP packets in PNG, JPEG and WebP files, put in and taken out without a change to any pixel.

`strip(embed(file)) == file`, byte for byte. The places are those of Adobe's XMP specification, part
3, and of RFC 9649: in a JPEG an APP1 segment behind JFIF and EXIF, in a PNG an iTXt chunk behind
IHDR, in a WebP a chunk at the end. Beside the packet goes, if asked for, the text in which tools of
Stable Diffusion keep parameters. What `strip` has to know is in an instruction behind the packet.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from struct import error as StructError  # noqa: N812 - `error` alone is unclear
from struct import pack, unpack_from
from types import MappingProxyType
from typing import Final, NamedTuple

from sd3.domain.c2pa_manifest import without_manifest
from sd3.domain.image_formats import (
    JPEG_SCAN,
    InvalidImageError,
    jpeg_segments,
    png_chunks,
    webp_chunks,
)

NAMESPACE: Final = "http://ns.sd3.invalid/provenance/1/"
"""The namespace of our own properties. A name that ends with .invalid can be nobody else's."""

_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_EXIF: Final = b"Exif\0\0"
_JPEG_MAX_BODY: Final = 65_533
_PNG_XMP: Final = b"XML:com.adobe.xmp\0"
_PNG_PARAMETERS: Final = b"parameters\0"
_PNG_HEADER_END: Final = 33
_MAX_INFLATED: Final = 1_000_000  # of a packet that another program has compressed
_WEBP_XMP, _WEBP_EXIF, _WEBP_ALPHA = 0x04, 0x08, 0x10
_SIMPLE: Final = -1  # in place of the flags of a WebP that has none

_UNDO: Final = re.compile(rb"<\?sd3 parameters=\"([01])\" webp=\"(-?[0-9]{1,3})\"\?>\Z")
"""Whether parameters are beside the packet, and which flags a WebP had before."""

_CONTROLS: Final = re.compile("[\0-\x08\x0b-\x1f\x7f]")

_EXIF_HEAD: Final = (
    b"MM\0*\0\0\0\x08\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x1a\0\0\0\0\0\1\x92\x86\0\7%b\0\0\0\x2c\0\0\0\0"
)
"""An EXIF block of a UserComment, up to the comment, whose length is to be filled in."""
_EXIF_TEXT: Final = 0x2C + len(b"UNICODE\0")


class Marks(NamedTuple):
    """What a file says about where it comes from."""

    packet: bytes = b""
    """Its first XMP packet, as it was given to `embed`; empty if it has none."""
    has_c2pa: bool = False
    """Whether it has a C2PA manifest, which a single inserted byte would break."""


def read_marks(data: bytes, content_type: str) -> Marks:
    """Find the XMP packet and the C2PA manifest of a file that `read_format` has read.

    Raises InvalidImageError.
    """
    try:
        marks = _READ[content_type](data)
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error
    return marks._replace(packet=_packet_in(marks.packet))


def embed(data: bytes, content_type: str, packet: bytes, *, parameters: str = "") -> bytes:
    """Put a packet with `parameters` beside it into a file; either may be empty.

    The file has no packet yet. Parameters are left out where the file has some already, and in a
    JPEG or WebP where it has EXIF, or where they are longer than a segment of a JPEG. Raises
    InvalidImageError for a packet that is longer, and for a WebP whose chunks and length disagree.
    """
    try:
        return _EMBED[content_type](data, packet, _CONTROLS.sub("", parameters))
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error


class _Embedded(NamedTuple):
    """What was given to `embed`, by what a file says of it."""

    data: bytes
    packet: bytes
    parameters: str


def strip(data: bytes, content_type: str) -> bytes:
    """Undo `embed`, and a signature with a C2PA manifest after it.

    A file that `embed` did not write is returned as it is, whatever its packet says: what is taken
    out could be what turns or colours the image. Raises InvalidImageError.
    """
    unsigned = without_manifest(data, content_type)
    try:
        found = _EMBEDDED[content_type](unsigned)
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error
    if found is None:
        return data
    with suppress(InvalidImageError):
        again = embed(found.data, content_type, found.packet, parameters=found.parameters)
        if again == unsigned:
            return found.data
    return data


def _undo(packet: bytes | memoryview) -> tuple[bool, int] | None:
    """Read the instruction behind a packet that `embed` has written."""
    match = _UNDO.search(packet[-64:]) if NAMESPACE.encode() in bytes(packet) else None
    return (match[1] == b"1", int(match[2])) if match else None


def _with_undo(packet: bytes, *, parameters: bool, webp: int = _SIMPLE) -> bytes:
    return packet and packet + b'<?sd3 parameters="%d" webp="%d"?>' % (parameters, webp)


def _packet_in(text: bytes) -> bytes:
    return _UNDO.sub(b"", text)


def _exif_of(text: str) -> bytes:
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    return _EXIF_HEAD % pack(">I", len(comment)) + comment


def _text_in(exif: bytes) -> str:
    return exif[_EXIF_TEXT:].decode("utf-16-be", "replace")


def _inserted(data: bytes, position: int, parts: Iterable[bytes]) -> bytes:
    """Put parts into a file, of which nothing is copied twice."""
    view = memoryview(data)
    return b"".join((view[:position], *parts, view[position:]))


def _jpeg_heads(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the segments in front of the pixels, where metadata are."""
    for marker, start, end in jpeg_segments(data):
        if marker == JPEG_SCAN:
            return
        yield marker, start, end


def _read_jpeg(data: bytes) -> Marks:
    marks = Marks()
    for marker, start, end in _jpeg_heads(data):
        if marker == 0xE1 and not marks.packet and data.startswith(_JPEG_XMP, start + 4):
            marks = marks._replace(packet=data[start + 4 + len(_JPEG_XMP) : end])
        elif marker == 0xEB and data.startswith(b"JP", start + 4) and b"c2pa" in data[start:end]:
            marks = marks._replace(has_c2pa=True)
    return marks


def _embed_jpeg(data: bytes, packet: bytes, text: str) -> bytes:
    position, may_have_text = 2, bool(text)
    for marker, start, end in _jpeg_heads(data):
        is_exif = marker == 0xE1 and data.startswith(_JPEG_EXIF, start + 4)
        may_have_text = may_have_text and not is_exif
        if marker != 0xE0 and not is_exif:
            break
        position = end
    exif = _JPEG_EXIF + _exif_of(text) if may_have_text else b""
    exif = exif if len(exif) <= _JPEG_MAX_BODY else b""
    packet = _with_undo(packet, parameters=bool(exif))
    xmp = packet and _JPEG_XMP + packet
    if len(xmp) > _JPEG_MAX_BODY:
        raise InvalidImageError("the packet is too long for a JPEG")
    segments = (b"\xff\xe1" + pack(">H", len(one) + 2) + one for one in (exif, xmp) if one)
    return _inserted(data, position, segments)


def _embedded_in_jpeg(data: bytes) -> _Embedded | None:
    before = 2
    for marker, start, end in _jpeg_heads(data):
        if marker == 0xE1 and data.startswith(_JPEG_XMP, start + 4):
            packet = data[start + 4 + len(_JPEG_XMP) : end]
            if (undo := _undo(packet)) is None:
                return None
            kept = before if undo[0] else start
            text = _text_in(data[kept + 4 + len(_JPEG_EXIF) : start])
            return _Embedded(data[:kept] + data[end:], _packet_in(packet), text)
        before = start
    return None


def _read_png(data: bytes) -> Marks:
    marks = Marks()
    for kind, start, end in png_chunks(data):
        if kind == b"iTXt" and not marks.packet and data.startswith(_PNG_XMP, start + 8):
            marks = marks._replace(packet=_itxt_text(data[start + 8 + len(_PNG_XMP) : end - 4]))
        marks = marks._replace(has_c2pa=marks.has_c2pa or kind == b"caBX")
    return marks


def _itxt_text(body: bytes) -> bytes:
    """Return the text of an iTXt chunk, of which the keyword was cut off; b"?" if it is damaged."""
    text = body[2:].split(b"\0", 2)[-1]
    if body[:1] == b"\1":
        try:
            text = zlib.decompressobj().decompress(text, _MAX_INFLATED)
        except zlib.error:
            text = b""
    return text or b"?"


def _embed_png(data: bytes, packet: bytes, text: str) -> bytes:
    if any(data.startswith(_PNG_PARAMETERS, start + 8) for _, start, _ in png_chunks(data)):
        text = ""
    packet = _with_undo(packet, parameters=bool(text))
    chunks = [_png_chunk(b"iTXt", _PNG_XMP + b"\0\0\0\0" + packet)] if packet else []
    if text.isascii():
        chunks += [_png_chunk(b"tEXt", _PNG_PARAMETERS + text.encode())] if text else []
    else:
        chunks.append(_png_chunk(b"iTXt", _PNG_PARAMETERS + b"\0\0\0\0" + text.encode()))
    return _inserted(data, _PNG_HEADER_END, chunks)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))


def _embedded_in_png(data: bytes) -> _Embedded | None:
    chunks = png_chunks(data)
    for kind, start, end in chunks:
        if kind == b"iTXt" and data.startswith(_PNG_XMP, start + 8):
            packet = data[start + 8 + len(_PNG_XMP) + 4 : end - 4]
            if (undo := _undo(packet)) is None:
                return None
            beside, first, last = next(chunks) if undo[0] else (b"", end, end)
            head = len(_PNG_PARAMETERS) + (4 if beside == b"iTXt" else 0)
            text = data[first + 8 + head : last - 4].decode(errors="replace")
            return _Embedded(data[:start] + data[last:], _packet_in(packet), text)
    return None


def _read_webp(data: bytes) -> Marks:
    marks = Marks()
    for kind, start, end in webp_chunks(data):
        if kind == b"XMP " and not marks.packet:
            marks = marks._replace(packet=data[start + 8 : end])
        marks = marks._replace(has_c2pa=marks.has_c2pa or kind == b"C2PA")
    return marks


def _embed_webp(data: bytes, packet: bytes, text: str) -> bytes:
    chunks = list(webp_chunks(data))
    kinds = {kind for kind, _, _ in chunks}
    end = 8 + unpack_from("<I", data, 4)[0]
    is_extended = chunks[0][0] == b"VP8X"
    if chunks[-1][2] + chunks[-1][2] % 2 != end or (is_extended and chunks[0][2] != 30):
        raise InvalidImageError("the WebP's chunks and its length disagree")
    flags = data[20] if is_extended else _SIMPLE
    exif = _exif_of(text) if text and b"EXIF" not in kinds else b""
    packet = _with_undo(packet, parameters=bool(exif), webp=flags)
    added = (_WEBP_EXIF if exif else 0) | (_WEBP_XMP if packet else 0)
    head = data[12:30] if is_extended else _vp8x(data)
    head = head[:8] + bytes((head[8] | added,)) + head[9:]
    tail = [_webp_chunk(kind, body) for kind, body in ((b"EXIF", exif), (b"XMP ", packet)) if body]
    view = memoryview(data)  # so that the frame is copied once
    parts: tuple[bytes | memoryview, ...] = (
        b"WEBP",
        head,
        view[30 if is_extended else 12 : end],
        *tail,
    )
    length = pack("<I", sum(map(len, parts)))
    return b"".join((b"RIFF", length, *parts, view[end:])) if added else data


def _vp8x(data: bytes) -> bytes:
    """Make the chunk that begins an extended file, for one that begins with its frame."""
    if data[12:16] == b"VP8L":
        (bits,) = unpack_from("<I", data, 21)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    else:
        width, height = (side & 0x3FFF for side in unpack_from("<HH", data, 26))
        width, height, alpha = width - 1, height - 1, 0
    sides = pack("<I", width)[:3] + pack("<I", height)[:3]
    return b"VP8X" + pack("<I", 10) + bytes((_WEBP_ALPHA * alpha, 0, 0, 0)) + sides


def _webp_chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join((kind, pack("<I", len(body)), body, bytes(len(body) % 2)))


def _embedded_in_webp(data: bytes) -> _Embedded | None:
    before = 0
    for kind, start, end in webp_chunks(data):
        if kind == b"XMP ":
            packet = data[start + 8 : end]
            undo = _undo(packet)
            if undo is None or data[12:16] != b"VP8X":
                return None
            has_text, flags = undo
            first = before if has_text else start
            text = _text_in(data[first + 8 : start])
            kept = data[30:first]
            if flags != _SIMPLE:
                kept = data[12:20] + bytes((flags & 0xFF,)) + data[21:30] + kept
            head = b"RIFF" + pack("<I", len(kept) + 4) + b"WEBP"
            whole = b"".join((head, kept, data[end + end % 2 :]))
            return _Embedded(whole, _packet_in(packet), text)
        before = start
    return None


_READ: Final = MappingProxyType[str, Callable[[bytes], Marks]](
    {"image/png": _read_png, "image/jpeg": _read_jpeg, "image/webp": _read_webp}
)
_EMBED: Final = MappingProxyType[str, Callable[[bytes, bytes, str], bytes]](
    {"image/png": _embed_png, "image/jpeg": _embed_jpeg, "image/webp": _embed_webp}
)
_EMBEDDED: Final = MappingProxyType[str, Callable[[bytes], _Embedded | None]]({
    "image/png": _embedded_in_png,
    "image/jpeg": _embedded_in_jpeg,
    "image/webp": _embedded_in_webp,
})  # fmt: skip
