"""What PNG, JPEG and WebP files say of themselves, by real files and by files that lie."""

import tracemalloc
import zlib
from contextlib import suppress
from io import BytesIO
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sd3.domain.image_formats import InvalidImageError, check_png_pixels, read_format
from tests.unit.images import (
    KINDS_OF_PNG,
    black_png,
    chunk,
    flat,
    ihdr,
    jpeg,
    png,
    png_of,
    saved,
    webp,
)

EXIF = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"
IDAT = chunk(b"IDAT", zlib.compress(bytes(64 * (1 + 64 * 3))))
IEND = chunk(b"IEND")
PLTE = chunk(b"PLTE", bytes(6))
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


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_bytes_after_the_end_are_no_fault(kind: str) -> None:
    assert read_format(REAL[kind] + bytes(1000)) == (f"image/{kind}", 67, 65)


def test_fill_bytes_between_jpeg_segments_are_no_fault() -> None:
    data = REAL["jpeg"]
    assert read_format(data[:2] + b"\xff" * 9 + data[2:]) == ("image/jpeg", 67, 65)


def test_a_frame_after_other_webp_chunks_is_found() -> None:
    assert b"ICCP" in REAL["webp with exif and profile"]
    assert b"ALPH" in REAL["webp with alpha"]


@pytest.mark.parametrize("name", ["png", "jpeg", "progressive jpeg", "webp", "webp with alpha"])
def test_an_image_cut_off_anywhere_is_refused(name: str) -> None:
    data = flat(64, 64, kind="jpeg") if name == "jpeg" else REAL[name]
    for length in range(len(data)):
        with pytest.raises(InvalidImageError):
            read_format(data[:length])


SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF = b"\xff\xc0\x00\x0b\x08\x00\x41\x00\x43\x01\x01\x11\x00"
SOS = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
VP8X = REAL["webp with alpha"]


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
        (flat(64, 64, kind="gif"), "not a PNG, JPEG or WebP"),
        (flat(64, 64, kind="bmp"), "not a PNG, JPEG or WebP"),
        (flat(64, 64, kind="tiff"), "not a PNG, JPEG or WebP"),
        (b"RIFF\x04\0\0\0WAVE", "not a PNG, JPEG or WebP"),
        (b"\0" + REAL["png"], "not a PNG, JPEG or WebP"),
        (png_of(ihdr(0, 64), IDAT, IEND), "no pixels"),
        (png_of(ihdr(64, 0), IDAT, IEND), "no pixels"),
        (png_of(TEXT, ihdr(64, 64), IDAT, IEND), "header is damaged"),
        (with_bytes(REAL["png"], 18, b"\x01"), "header is damaged"),
        (png_of(ihdr(64, 64, color=1), IDAT, IEND), "unknown kind"),
        (png_of(ihdr(64, 64, depth=4), IDAT, IEND), "unknown kind"),
        (png_of(ihdr(64, 64, interlaced=2), IDAT, IEND), "unknown kind"),
        (png_of(chunk(b"IHDR", b"\0\0\0\x40" * 2 + b"\x08\x02\x01\0\0"), IEND), "unknown kind"),
        (png_of(chunk(b"IHDR", b"\0\0\0\x40" * 2 + b"\x08\x02\0\x01\0"), IEND), "unknown kind"),
        (SOI + SOF.replace(b"\x00\x41", b"\0\0") + SOS + EOI, "no pixels"),
        (SOI + SOF.replace(b"\x00\x43", b"\0\0") + SOS + EOI, "no pixels"),
        (SOI + SOS + EOI, "header is damaged"),
        (SOI + SOF + SOF + SOS + EOI, "header is damaged"),
        (SOI + SOF.replace(b"\x0b", b"\x0c") + SOS + EOI, "header is damaged"),
        (SOI + SOF.replace(b"\xc0", b"\xc3") + SOS + EOI, "header is damaged"),
        (SOI + b"\xff\xe0\0\x01" + SOF + SOS + EOI, "header is damaged"),
        (SOI + b"\xff\xe0\0\x02?" + SOF + SOS + EOI, "header is damaged"),
        (SOI + b"\xff" * 5000 + SOF + SOS + EOI, "header is damaged"),
        (SOI + SOF + SOS + bytes(100), "cut off"),
        (SOI + SOF, "cut off"),
        (REAL["webp"] + b"\0", "longer than it says"),
        (with_bytes(REAL["webp"], 20, b"\x01"), "frame header is damaged"),
        (with_bytes(REAL["webp"], 23, b"\0"), "frame header is damaged"),
        (with_bytes(REAL["webp"], 26, b"\0\0"), "no pixels"),
        (with_bytes(REAL["webp"], 16, pack("<I", len(REAL["webp"]) - 19)), "cut off"),
        (with_bytes(REAL["lossless webp"], 20, b"\0"), "frame header is damaged"),
        (with_bytes(REAL["lossless webp"], 24, b"\xff"), "frame header is damaged"),
        (with_bytes(VP8X, 24, b"\x50"), "no frame of the size"),
        (with_bytes(VP8X, 27, b"\x50"), "no frame of the size"),
        (riff(VP8X[12:30], chunk(b"") * 100), "no frame of the size"),
        (riff(VP8X[12:30]), "cut off"),
        (riff(b"EXIF\0\0\0\0"), "frame header is damaged"),
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError, match=message):
        read_format(data)


def test_an_animated_webp_is_refused() -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    data = saved(frames[0], kind="webp", save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidImageError, match="animated"):
        read_format(data)


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("color", "depth"), KINDS_OF_PNG)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 71), (70, 69)])
def test_every_kind_of_png_is_counted_to_the_byte(
    color: int, depth: int, interlaced: int, width: int, height: int
) -> None:
    kind = {"color": color, "depth": depth, "interlaced": interlaced}
    data = black_png(width, height, **kind)
    with Image.open(BytesIO(data)) as image:
        image.load()  # a decoder that is not ours agrees
    check_png_pixels(data)
    with pytest.raises(InvalidImageError, match="fewer pixels"):
        check_png_pixels(black_png(width, height, **kind, more_bytes=-1))
    with pytest.raises(InvalidImageError, match="more pixels"):
        check_png_pixels(black_png(width, height, **kind, more_bytes=1))


def test_pixels_in_many_small_chunks_are_counted() -> None:
    pixels = zlib.compress(bytes(64 * 193))
    parts = [chunk(b"IDAT", pixels[at : at + 1]) for at in range(len(pixels))]
    check_png_pixels(png_of(ihdr(64, 64), TEXT, chunk(b"IDAT"), *parts, TEXT, TEXT, IEND, b"more"))


def test_bytes_after_the_compressed_pixels_are_no_fault() -> None:
    pixels = zlib.compress(bytes(64 * 193))
    more = chunk(b"IDAT", b"more")
    check_png_pixels(png_of(ihdr(64, 64), chunk(b"IDAT", pixels + b"more"), more, IEND))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png_of(ihdr(4096, 4096), IDAT, IEND), "fewer pixels"),
        (png_of(ihdr(64, 63), IDAT, IEND), "more pixels"),
        (png_of(ihdr(64, 64), chunk(b"IDAT", IDAT[8:-5]), IEND), "fewer pixels"),
        (png_of(ihdr(64, 64), IEND), "not in order"),
        (png_of(ihdr(64, 64), IDAT, PLTE, IEND), "not in order"),
        (png_of(ihdr(64, 64), PLTE, PLTE, IDAT, IEND), "not in order"),
        (png_of(ihdr(64, 64), ihdr(64, 64), IDAT, IEND), "not in order"),
        (png_of(ihdr(64, 64), IDAT, TEXT, IDAT, IEND), "not in order"),
        (png_of(ihdr(64, 64), chunk(b"NEED"), IDAT, IEND), "not in order"),
        (png_of(ihdr(64, 193, color=3), IDAT, IEND), "fewer pixels|not in order"),
        (black_png(64, 64, color=3).replace(PLTE, b""), "not in order"),
        (png_of(ihdr(64, 64), TEXT * 20_000, IDAT, IEND), "not in order"),
        (png_of(ihdr(64, 64), with_bytes(TEXT, 9, b"?"), IDAT, IEND), "damaged"),
        (png_of(ihdr(64, 64), with_bytes(IDAT, 20, b"?"), IEND), "damaged"),
        (png_of(ihdr(64, 64), chunk(b"IDAT", b"no deflate"), IEND), "damaged"),
        (png_of(ihdr(64, 64), IDAT), "damaged"),
        (png_of(ihdr(64, 64), IDAT, IEND[:-4]), "damaged"),
        (png_of(ihdr(64, 64), pack(">I", 2**31) + IDAT[4:], IEND), "damaged"),
    ],
)
def test_a_png_that_lies_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError, match=message):
        check_png_pixels(data)


def test_a_png_bomb_is_stopped_early_and_never_held() -> None:
    bomb = png_of(ihdr(64, 64), chunk(b"IDAT", zlib.compress(bytes(300_000_000), 1)), IEND)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidImageError, match="more pixels"):
            check_png_pixels(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@settings(deadline=None)
@given(st.data())
def test_a_damaged_image_raises_nothing_else(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([*REAL.values(), black_png(64, 64, interlaced=1)]))
    position = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 64))
    damaged = with_bytes(whole, position, data.draw(st.binary(min_size=1, max_size=4)))
    with suppress(InvalidImageError):
        kind, _, _ = read_format(damaged)
        if kind == "image/png":
            check_png_pixels(damaged)
