"""The C2PA manifest of a file, taken out as if it had never been put in."""

from collections.abc import Iterable
from struct import error as StructError  # noqa: N812 - `error` alone is unclear
from struct import pack

from sd3.domain.image_formats import (
    JPEG_SCAN,
    InvalidImageError,
    jpeg_segments,
    png_chunks,
    webp_chunks,
)

_JPEG_JUMBF = 0xEB


def without_manifest(data: bytes, content_type: str) -> bytes:
    """Return a file that `read_format` has read, without a manifest.

    It is the file that was signed, byte for byte: signing changes nothing else of it, but for the
    length that begins a WebP. Raises InvalidImageError.
    """
    try:
        found = {"image/jpeg": _in_jpeg, "image/png": _in_png, "image/webp": _in_webp}
        places = list(found[content_type](data))
    except (IndexError, StructError) as error:
        raise InvalidImageError("the image is cut off") from error
    kept, position = [], 0
    for start, end in places:
        kept.append(data[position:start])
        position = end
    kept.append(data[position:])
    joined = b"".join(kept)
    if places and content_type == "image/webp":
        length = int.from_bytes(data[4:8], "little") + len(joined) - len(data)
        return joined[:4] + pack("<I", length) + joined[8:]
    return joined


def _in_jpeg(data: bytes) -> Iterable[tuple[int, int]]:
    for marker, start, end in jpeg_segments(data):
        if marker == JPEG_SCAN:
            return
        if marker == _JPEG_JUMBF and data.startswith(b"JP", start + 4):
            yield start, end


def _in_png(data: bytes) -> Iterable[tuple[int, int]]:
    return ((start, end) for kind, start, end in png_chunks(data) if kind == b"caBX")


def _in_webp(data: bytes) -> Iterable[tuple[int, int]]:
    chunks = webp_chunks(data)
    return ((start, end + (end - start) % 2) for kind, start, end in chunks if kind == b"C2PA")
