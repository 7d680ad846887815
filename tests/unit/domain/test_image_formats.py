"""The headers of PNG, JPEG and WebP files, in real files and in forged ones."""

import zlib
from contextlib import nullcontext, suppress
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sd3.domain.image_formats import InvalidImageError, read_format
from tests.support.factories.images import (
    chunk,
    flat,
    ihdr,
    jpeg,
    mpo,
    png,
    png_of,
    saved,
    webp,
    with_segments,
)

EXIF = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"
IDAT = chunk(b"IDAT", zlib.compress(bytes(64 * (1 + 64 * 3))))
IEND = chunk(b"IEND")
TEXT = chunk(b"tEXt", b"Comment\0ours")

REAL = {
    "png": png(67, 65),
    "png with alpha": png(67, 65, mode="RGBA"),
    "grey png": png(67, 65, mode="L"),
    "palette png": png(67, 65, mode="P"),
    "jpeg": jpeg(67, 65),
    "grey jpeg": jpeg(67, 65, mode="L"),
    "cmyk jpeg": jpeg(67, 65, mode="CMYK"),
    "progressive jpeg": jpeg(67, 65, progressive=True),
    "jpeg of a phone": mpo(67, 65),
    "jpeg with exif and profile": jpeg(67, 65, exif=EXIF, icc_profile=bytes(200_000)),
    "webp": webp(67, 65),
    "lossless webp": webp(67, 65, lossless=True),
    "webp with alpha": webp(67, 65, mode="RGBA"),
    "lossless webp with alpha": webp(67, 65, mode="RGBA", lossless=True),
    "webp with exif and profile": webp(67, 65, exif=EXIF, icc_profile=bytes(201)),
}


def content_type(name: str) -> str:
    return "image/" + next(kind for kind in ("png", "jpeg", "webp") if kind in name)


def with_bytes(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position + len(new) :]


@pytest.mark.parametrize("name", REAL)
def test_a_real_image_is_read(name: str) -> None:
    assert read_format(REAL[name]) == (content_type(name), 67, 65)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_bytes_after_the_end_are_fine(kind: str) -> None:
    assert read_format(REAL[kind] + bytes(1000)) == (f"image/{kind}", 67, 65)


@pytest.mark.parametrize(
    "stray",
    [b"\xff" * 9, b"\0", bytes(7), b"\xff\0", b"no 0xFF", b"\xff\xd0", b"\xff\1", b"\xff" * 300],
    ids=["fill", "zero", "seven zeros", "escaped 0xFF", "text", "restart", "TEM", "much fill"],
)  # fmt: skip
def test_stray_bytes_between_jpeg_segments_are_fine(stray: bytes) -> None:
    assert read_format(with_segments(REAL["jpeg"], stray)) == ("image/jpeg", 67, 65)


def test_a_frame_after_other_webp_chunks_is_found() -> None:
    assert b"ICCP" in REAL["webp with exif and profile"]
    assert b"ALPH" in REAL["webp with alpha"]


@pytest.mark.parametrize("name", ["png", "jpeg", "progressive jpeg", "webp", "webp with alpha"])
def test_an_image_truncated_anywhere_is_rejected(name: str) -> None:
    data = flat(64, 64, kind="jpeg") if name == "jpeg" else REAL[name]
    for length in range(len(data)):
        with pytest.raises(InvalidImageError):
            read_format(data[:length])


SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF = b"\xff\xc0\x00\x0b\x08\x00\x41\x00\x43\x01\x01\x11\x00"
SOS = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
COMMENT = b"\xff\xfe\x00\x02"


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + pack("<I", len(body)) + body


def test_the_smallest_jpeg_is_read() -> None:
    assert read_format(SOI + SOF + SOS + EOI) == ("image/jpeg", 67, 65)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PNG, JPEG or WebP"),
        (b"hello", "not a PNG, JPEG or WebP"),
        (flat(64, 64, kind="gif"), "not a PNG, JPEG or WebP image but a GIF"),
        (flat(64, 64, kind="bmp"), "not a PNG, JPEG or WebP image but a BMP"),
        (flat(64, 64, kind="tiff"), "not a PNG, JPEG or WebP image but a TIFF"),
        (b"\0\0\0\x18ftypheic", "not a PNG, JPEG or WebP image but HEIC"),
        (b"<svg/>", "not a PNG, JPEG or WebP image but XML"),
        (b"RIFF\x04\0\0\0WAVE", "not a PNG, JPEG or WebP"),
        (b"\0" + REAL["png"], "not a PNG, JPEG or WebP"),
        (png_of(ihdr(0, 64), IDAT, IEND), "no pixels"),
        (png_of(ihdr(64, 0), IDAT, IEND), "no pixels"),
        (png_of(TEXT, ihdr(64, 64), IDAT, IEND), "header is damaged"),
        (with_bytes(REAL["png"], 18, b"\x01"), "header is damaged"),
        (png_of(ihdr(64, 64), IDAT), "cut off"),
        (png_of(ihdr(64, 64), IDAT, IEND[:-4]), "cut off"),
        (png_of(ihdr(64, 64), pack(">I", 2**31) + IDAT[4:], IEND), "cut off"),
        (SOI + SOF.replace(b"\x00\x41", b"\0\0") + SOS + EOI, "no pixels"),
        (SOI + SOF.replace(b"\x00\x43", b"\0\0") + SOS + EOI, "no pixels"),
        (SOI + SOS + EOI, "header is damaged"),
        (SOI + SOF + EOI, "header is damaged"),
        (SOI + SOF.replace(b"\xc0", b"\xc3") + SOS + EOI, "header is damaged"),
        (SOI + SOF + SOS + bytes(100), "cut off"),
        (SOI + SOF, "cut off"),
        (REAL["jpeg"][:-2], "cut off: its end is missing"),
        (b"\0" + REAL["jpeg"], "not a PNG, JPEG or WebP"),
        (with_bytes(REAL["webp"], 4, pack("<I", len(REAL["webp"]) - 7)), "cut off"),
        (with_bytes(REAL["webp"], 23, b"\0"), "header is damaged"),
        (with_bytes(REAL["webp"], 26, b"\0\0"), "no pixels"),
        (with_bytes(REAL["lossless webp"], 20, b"\0"), "header is damaged"),
        (riff(b"EXIF\0\0\0\0" + bytes(20)), "header is damaged"),
        (riff(b"VP8X"), "cut off"),
    ],
)
def test_an_incomplete_image_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError, match=message):
        read_format(data)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_an_animated_image_is_rejected(kind: str) -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    data = saved(frames[0], kind=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidImageError, match="animated"):
        read_format(data)


@pytest.mark.parametrize(
    ("few", "many", "message"),
    [
        (png_of(ihdr(64, 64), TEXT * 200, IDAT, IEND),
         png_of(ihdr(64, 64), TEXT * 300, IDAT, IEND), "too many chunks"),
        (png_of(ihdr(64, 64), IDAT * 10_000, IEND),
         png_of(ihdr(64, 64), IDAT * 20_000, IEND), "too many chunks"),
        (SOI + COMMENT * 1000 + SOF + SOS + EOI,
         SOI + COMMENT * 1100 + SOF + SOS + EOI, "header is damaged"),
        (SOI + b"\xff" * 4000 + SOF + SOS + EOI,
         SOI + b"\xff" * 5000 + SOF + SOS + EOI, "header is damaged"),
        (SOI + SOF + SOS * 100 + EOI, SOI + SOF + SOS * 101 + EOI, "too many scans"),
    ],
    ids=["other chunks", "IDAT", "segments", "stray bytes", "scans"],
)  # fmt: skip
def test_an_image_of_too_many_parts_is_rejected(few: bytes, many: bytes, message: str) -> None:
    """Each of them can cost a decoder milliseconds, or grow with all that came before."""
    read_format(few)
    with pytest.raises(InvalidImageError, match=message):
        read_format(many)


@pytest.mark.parametrize(
    "between",
    [COMMENT[:3] + b"\x06" + EOI + SOS[:2], b"\xff\x01\xff\xff", b"\xff\xd0", b"\xff\0\xff\xff\0"],
    ids=["an end in a comment", "a marker without a length", "a restart", "0xFF of a scan"],
)
def test_no_scan_is_hidden(between: bytes) -> None:
    """What a decoder reads over, or takes for a scan's own bytes, is not the end or a segment."""
    for scans, rejected in ((100, False), (101, True)):
        with pytest.raises(InvalidImageError) if rejected else nullcontext():
            read_format(SOI + SOF + (SOS + between) * scans + EOI)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_image_raises_nothing_else(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([*REAL.values()]))
    position = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 64))
    damaged = with_bytes(whole, position, data.draw(st.binary(min_size=1, max_size=4)))
    with suppress(InvalidImageError):
        read_format(damaged)
