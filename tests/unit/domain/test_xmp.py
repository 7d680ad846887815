"""XMP packets in files: what is put in is found and taken out, and no pixel changes."""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms

from sd3.domain.image_formats import InvalidImageError, read_format
from sd3.domain.xmp import NAMESPACE, embed, read_marks, strip
from tests.support.factories.images import (
    chunk,
    exif,
    flat,
    image,
    jpeg,
    mpo,
    png,
    png_of,
    segment,
    webp,
    with_segments,
)

PACKET = f'<x xmlns:sd3="{NAMESPACE}"/>'.encode()
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = exif(6).tobytes()
JUMBF = b"JP\0\1\0\0\0\1" + pack(">I", 24) + b"jumb" + b"\0\0\0\x10jumdc2pa"

ADOBE = b"http://ns.adobe.com/xap/1.0/"
HEADER, REST = png()[8:33], png()[33:]

FILES: list[tuple[str, Callable[[], bytes]]] = [
    ("baseline JPEG", jpeg),
    ("progressive JPEG", lambda: jpeg(progressive=True)),
    ("JPEG with EXIF and a profile", lambda: jpeg(exif=EXIF, icc_profile=PROFILE)),
    ("JPEG without JFIF", lambda: jpeg()[:2] + jpeg()[20:]),
    ("JPEG with restart markers", lambda: jpeg(restart_marker_rows=1)),
    ("JPEG with a comment", lambda: jpeg(comment=b"x")),
    ("CMYK JPEG", lambda: image(mode="CMYK", kind="jpeg")),
    ("JPEG with a second image", mpo),
    ("PNG", png),
    ("grey PNG", lambda: image(mode="L")),
    ("PNG with alpha", lambda: image(mode="RGBA")),
    ("palette PNG", lambda: flat(64, 64, mode="P")),
    ("PNG with EXIF and a profile", lambda: png(exif=EXIF, icc_profile=PROFILE)),
    ("PNG with text", lambda: png_of(png()[8:33], chunk(b"tEXt", b"a\0b"), png()[33:])),
    ("PNG with data behind it", lambda: png() + b"more"),
    ("lossy WebP", webp),
    ("lossless WebP", lambda: webp(lossless=True)),
    ("lossless WebP with alpha", lambda: image(mode="RGBA", kind="webp", lossless=True)),
    ("lossy WebP with alpha", lambda: image(mode="RGBA", kind="webp")),
    ("WebP with a profile", lambda: webp(icc_profile=PROFILE)),
    ("WebP with EXIF", lambda: webp(exif=EXIF)),
    ("WebP with a false flag", lambda: with_flags(webp(icc_profile=PROFILE), 0x04)),
    ("WebP with data behind it", lambda: webp() + b"more"),
]  # fmt: skip

EACH_FILE = pytest.mark.parametrize("make", [make for _, make in FILES], ids=[n for n, _ in FILES])


def with_flags(data: bytes, flags: int) -> bytes:
    """Set flags of an extended WebP."""
    return data[:20] + bytes((data[20] | flags,)) + data[21:]


def pixels(data: bytes) -> tuple[str, bytes, object, object]:
    with PillowImage.open(BytesIO(data)) as opened:
        opened.load()
        info = opened.info
        return opened.mode, opened.tobytes(), info.get("icc_profile"), info.get("transparency")


@EACH_FILE
@pytest.mark.parametrize("parameters", ["", "a fox\nSteps: 30", "ein F\N{FOX FACE}chs"])
def test_a_packet_is_put_in_and_taken_out_without_a_trace(
    make: Callable[[], bytes], parameters: str
) -> None:
    data = make()
    kind, *_ = read_format(data)
    marked = embed(data, kind, PACKET, parameters=parameters)
    assert (read_format(marked), pixels(marked)) == (read_format(data), pixels(data))
    assert read_marks(marked, kind).packet == PACKET
    assert read_marks(data, kind).packet == b""
    with PillowImage.open(BytesIO(marked)) as opened:
        assert opened.info["xmp"].startswith(PACKET)
    assert strip(marked, kind) == data


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["jpeg", "png", "webp"]),
    mode=st.sampled_from(["RGB", "L"]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    options=st.fixed_dictionaries(
        {},
        optional={
            "progressive": st.booleans(),
            "lossless": st.booleans(),
            "optimize": st.booleans(),
            "quality": st.integers(1, 95),
            "icc_profile": st.just(PROFILE),
            "exif": st.just(EXIF),
        },
    ),
    rest=st.binary(max_size=300),
    parameters=st.text(max_size=200),
    tail=st.binary(max_size=9),
)
def test_whatever_an_encoder_writes_comes_back(
    kind: str, mode: str, size: tuple[int, int], options: dict[str, Any],
    rest: bytes, parameters: str, tail: bytes,
) -> None:  # fmt: skip
    data = image(*size, kind=kind, mode=mode, **options) + tail
    content_type, *_ = read_format(data)
    text = parameters.encode("utf-8", "ignore").decode()
    marked = embed(data, content_type, PACKET + rest, parameters=text)
    assert pixels(marked) == pixels(data)
    assert strip(marked, content_type) == data


@EACH_FILE
def test_parameters_go_in_without_a_packet(make: Callable[[], bytes]) -> None:
    data = make()
    kind, *_ = read_format(data)
    written = embed(data, kind, b"", parameters="Steps: 30")
    assert (pixels(written), read_marks(written, kind).packet) == (pixels(data), b"")
    assert embed(data, kind, b"") == data


@pytest.mark.parametrize(
    ("data", "packet", "has_c2pa"),
    [
        (with_segments(jpeg(), segment(0xEB, JUMBF)), b"", True),
        (with_segments(jpeg(), segment(0xEB, b"JP another box")), b"", False),
        (with_segments(jpeg(), segment(0xE1, ADOBE + b"\0<x/>")), b"<x/>", False),
        (png_of(HEADER, chunk(b"caBX", b"jumb"), REST), b"", True),
        (png_of(HEADER, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"), REST), b"<x/>", False),
        (png_of(HEADER, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0zip?"), REST), b"?", False),
        (webp(xmp=b"<x/>"), b"<x/>", False),
    ],
)  # fmt: skip
def test_the_marks_of_other_programs_are_found_and_stay(
    data: bytes, packet: bytes, has_c2pa: bool
) -> None:
    kind, *_ = read_format(data)
    assert read_marks(data, kind) == (packet, has_c2pa)
    assert strip(data, kind) == data


def test_what_is_no_place_for_a_packet_is_refused() -> None:
    with pytest.raises(InvalidImageError, match="too long for a JPEG"):
        embed(jpeg(), "image/jpeg", b"x" * 65_500)
    data = webp()
    wrong = data[:4] + pack("<I", len(data) - 10) + data[8:]
    with pytest.raises(InvalidImageError, match="disagree"):
        embed(wrong, "image/webp", PACKET)


def test_parameters_that_a_file_has_already_are_its_own() -> None:
    theirs = png_of(png()[8:33], chunk(b"tEXt", b"parameters\0theirs"), png()[33:])
    assert embed(theirs, "image/png", b"", parameters="ours") == theirs
    photo = jpeg(exif=EXIF)
    assert embed(photo, "image/jpeg", b"", parameters="ours") == photo
    assert embed(jpeg(), "image/jpeg", b"", parameters="x" * 40_000) == jpeg()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([make() for _, make in FILES]),
    st.integers(0, 2000),
    st.binary(min_size=1, max_size=4),
)  # fmt: skip
def test_a_damaged_file_ends_in_one_known_error(data: bytes, at: int, other: bytes) -> None:
    marked = embed(data, read_format(data)[0], PACKET, parameters="Steps: 1")
    damaged = marked[:at] + other + marked[at + len(other) :]
    with suppress(InvalidImageError):
        kind, *_ = read_format(damaged)
        read_marks(damaged, kind)
        strip(damaged, kind)
