"""What is removed from a client's file, and what stays: the pixels and their colours."""

import zlib
from contextlib import suppress
from io import BytesIO
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms

from sd3.domain.image import check_init_image
from sd3.domain.image_formats import InvalidImageError, read_format
from sd3.domain.image_metadata import Stripped, strip_metadata
from tests.support.factories.images import (
    SECRET,
    chunk,
    ihdr,
    image,
    jpeg,
    mpo,
    phone_photo,
    png,
    png_of,
    segment,
    webp,
    with_segments,
)

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HIDDEN = SECRET.encode()
IDAT = chunk(b"IDAT", zlib.compress(bytes(64 * 193)))
IEND = chunk(b"IEND")


def stripped(data: bytes) -> Stripped:
    return strip_metadata(data, read_format(data)[0])


def decoded(data: bytes) -> tuple[str, tuple[int, int], bytes, object, object]:
    with PillowImage.open(BytesIO(data)) as opened:
        opened.load()
        info = opened.info
        return (
            opened.mode,
            opened.size,
            opened.tobytes(),
            info.get("icc_profile"),
            info.get("transparency"),
        )


def rest_of(data: bytes) -> set[str]:
    """Return what Pillow finds in a file besides its pixels."""
    with PillowImage.open(BytesIO(data)) as opened:
        opened.load()
        assert not opened.getexif()
        return {str(name) for name in opened.info}


PNG_TEXTS = (
    chunk(b"tEXt", b"Location\0" + HIDDEN),
    chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(HIDDEN)),
    chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + HIDDEN),
    chunk(b"tIME", pack(">HBBBBB", 2026, 11, 27, 12, 0, 0)),
    chunk(b"prVt", HIDDEN),
)
JPEG_SEGMENTS = (
    segment(0xE0, b"JFXX\0\x10" + HIDDEN),
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + HIDDEN),
    segment(0xE2, b"FPXR\0" + HIDDEN),
    segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + HIDDEN),
    segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + HIDDEN),
    segment(0xEF, HIDDEN),
    segment(0xFE, HIDDEN),
)
PREVIEW = segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\x03\x03" + HIDDEN)
PNG = png(icc_profile=PROFILE)
JPEG = jpeg(icc_profile=PROFILE)
SCANS = jpeg(progressive=True)
LAST_SCAN = SCANS.rindex(b"\xff\xc4")


@pytest.mark.parametrize(
    "data",
    [
        *(phone_photo((64, 64), kind=kind) for kind in ("png", "jpeg", "mpo", "webp")),
        PNG[:33] + b"".join(PNG_TEXTS) + PNG[33:-12] + b"".join(PNG_TEXTS) + IEND + HIDDEN,
        with_segments(JPEG, *JPEG_SEGMENTS) + HIDDEN,
        JPEG[:2] + PREVIEW + JPEG[20:],
        SCANS[:LAST_SCAN] + segment(0xFE, HIDDEN) + SCANS[LAST_SCAN:],
        with_segments(jpeg(mode="CMYK"), *JPEG_SEGMENTS[:4]),
        mpo() + HIDDEN,
        webp(exif=b"Exif\0\0" + HIDDEN, xmp=HIDDEN, icc_profile=PROFILE) + HIDDEN,
        webp(mode="RGBA", lossless=True, xmp=HIDDEN),
    ],
    ids=["PNG of a phone", "JPEG of a phone", "MPO", "WebP of a phone", "PNG", "JPEG",
         "preview in JFIF", "between scans", "CMYK", "behind the image", "WebP", "WebP with alpha"],
)  # fmt: skip
def test_nothing_but_pixels_and_their_colours_stays(data: bytes) -> None:
    assert HIDDEN in data or b"MPF\0" in data
    (without, _) = stripped(data)
    assert decoded(without) == decoded(data)
    assert HIDDEN not in without
    assert rest_of(without) <= {
        "icc_profile", "jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "adobe",
        "adobe_transform", "progressive", "progression", "loop", "timestamp", "duration",
        "background",
    }  # fmt: skip
    assert stripped(without) == (without, b"")
    assert check_init_image(data).data is data


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_file_without_metadata_is_returned_itself(kind: str) -> None:
    data = image(kind=kind, icc_profile=PROFILE)
    assert stripped(data).data is data
    assert decoded(data)[3] == PROFILE


@settings(deadline=None)
@given(
    st.sampled_from(["png", "jpeg", "webp"]),
    st.sampled_from(["L", "RGB", "RGBA", "P", "CMYK"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.booleans(),
    st.data(),
)
def test_no_pixel_changes(
    kind: str, mode: str, width: int, height: int, lossless: bool, draw: st.DataObject
) -> None:
    mode = {"jpeg": {"RGBA": "CMYK", "P": "L"}, "png": {"CMYK": "P"}}.get(kind, {}).get(mode, mode)
    mode = "RGBA" if kind == "webp" and mode in {"P", "CMYK"} else mode
    data = image(
        width, height, kind=kind, mode=mode, lossless=lossless, progressive=lossless,
        exif=draw.draw(st.sampled_from([b"", b"Exif\0\0" + HIDDEN])),
    )  # fmt: skip
    without = stripped(data).data
    assert decoded(without) == decoded(data)
    assert HIDDEN not in without


def test_colours_of_a_png_stay_as_they_are_meant() -> None:
    colours = (
        chunk(b"gAMA", pack(">I", 45455)),
        chunk(b"cHRM", bytes(32)),
        chunk(b"sRGB", b"\0"),
        chunk(b"cICP", bytes(4)),
        chunk(b"tRNS", bytes(6)),
    )
    data = png_of(ihdr(64, 64), *colours, *PNG_TEXTS, IDAT, IEND)
    assert stripped(data).data == png_of(ihdr(64, 64), *colours, IDAT, IEND)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"gAMA", b"short"),
        chunk(b"sRGB", b""),
        chunk(b"sRGB", b"\0")[:-1] + b"?",
        chunk(b"iCCP", b"name\0\0no deflate"),
        chunk(b"iCCP", b"name\0\1" + zlib.compress(PROFILE)),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(PROFILE)[:-9]),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"tEXt", b"Comment\0ours")[:-1] + b"?",
    ],
    ids=["gamma", "intent", "CRC of an intent", "no deflate", "other deflate", "cut off", "huge",
         "CRC of a text"],
)  # fmt: skip
def test_what_decoders_can_do_without_is_removed_when_it_is_damaged(extra: bytes) -> None:
    data = png_of(ihdr(64, 64), extra, IDAT, IEND)
    assert stripped(data).data == png_of(ihdr(64, 64), IDAT, IEND)
    assert check_init_image(data).data is data


def test_a_jpegs_stray_bytes_are_removed() -> None:
    data = jpeg()
    for stray in (b"\0", bytes(7), b"\xff\0", b"\xff" * 300):
        assert stripped(with_segments(data, stray)).data == data


def test_a_webps_length_and_flags_are_those_of_what_is_left() -> None:
    data = webp(mode="RGBA", exif=b"Exif\0\0" + HIDDEN, icc_profile=PROFILE)
    without = stripped(data).data
    assert without[:4] + without[8:16] == b"RIFFWEBPVP8X"
    assert int.from_bytes(without[4:8], "little") == len(without) - 8
    assert (data[20], without[20]) == (0x38, 0x30)  # alpha and a profile; EXIF is gone


def riff(*chunks: bytes, more: int = 0) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + pack("<I", len(body) + more) + body


ODD = next(
    data
    for data in (webp(64, 64 + more, lossless=True) for more in range(99))
    if int.from_bytes(data[16:20], "little") % 2
)
FRAME = ODD[12:]


@pytest.mark.parametrize(
    "data",
    [
        ODD + b"\0" * 5,
        riff(FRAME, b"\0"),
        riff(FRAME, bytes(5)),
        riff(FRAME, b"text" * 1000),
        riff(FRAME, more=-1),
        riff(FRAME[:-1]),
        riff(FRAME, b"EXIF" + pack("<I", len(HIDDEN)) + HIDDEN),
    ],
    ids=["behind the file", "one byte", "five", "a text", "length without the padding",
         "no padding", "EXIF of a simple file"],
)  # fmt: skip
def test_a_webp_is_put_in_order(data: bytes) -> None:
    assert stripped(data).data == ODD
    assert check_init_image(data).data is data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (riff(*(chunk(b"none")[:4] + b"\0" * 4,) * 300, FRAME), "WebP has too many chunks"),
        (riff(b"ALPH\xff\0\0\0", FRAME[:100]), "cut off"),
    ],
)
def test_a_webp_of_wrong_chunks_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(InvalidImageError, match=message):
        strip_metadata(data, "image/webp")


@pytest.mark.parametrize("kind", ["png", "jpeg", "mpo", "webp"])
def test_exif_is_returned_from_wherever_it_is(kind: str) -> None:
    data = phone_photo((64, 64), kind=kind, orientation=6)
    exif = PillowImage.Exif()
    exif.load(stripped(data).exif)
    assert exif[0x0112] == 6


def test_exif_behind_the_pixels_of_a_png_is_found_unless_it_is_damaged() -> None:
    found = chunk(b"eXIf", b"MM" + HIDDEN)
    for exif, expected in ((found, b"MM" + HIDDEN), (found[:-1] + b"?", b"")):
        data = png_of(ihdr(64, 64), IDAT, exif, IEND)
        assert stripped(data) == (png_of(ihdr(64, 64), IDAT, IEND), expected)


WHOLE = [phone_photo((64, 64), kind=kind) for kind in ("png", "jpeg", "mpo", "webp")]


@settings(deadline=None)
@given(st.data())
def test_a_damaged_file_raises_nothing_else(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(WHOLE))
    position = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 200))
    new = data.draw(st.binary(min_size=1, max_size=4))
    damaged = whole[:position] + new + whole[position + len(new) :]
    with suppress(InvalidImageError):
        without, _ = stripped(damaged)
        assert len(without) <= len(damaged) + 12
