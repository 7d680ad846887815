"""Base64 and the rules for a client's image."""

import base64
import subprocess
import sys
import zlib
from base64 import encodebytes
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from pydantic_core import PydanticCustomError

from sd3.domain.image import (
    MAX_INIT_BYTES,
    Image,
    check_init_image,
    decode_base64,
    decode_init_image,
    encode_base64,
    extension,
    read_image,
)
from sd3.domain.image_formats import InvalidImageError
from tests.support.factories.images import (
    KINDS_OF_PNG,
    black_png,
    chunk,
    flat,
    ihdr,
    image,
    jpeg,
    mpo,
    png,
    png_of,
    webp,
)

PACKAGE = Path(sys.modules[check_init_image.__module__].__file__ or "").parents[2]
FILES = {"image/png": png(), "image/jpeg": jpeg(), "image/webp": webp()}
PNG_TEXT = encode_base64(FILES["image/png"])
ROWS = zlib.compress(bytes(64 * 193))
IDAT = chunk(b"IDAT", ROWS)
TEXT = chunk(b"tEXt", b"Comment\0ours")
IEND = chunk(b"IEND")
LOSSLESS = webp(lossless=True)


@pytest.mark.parametrize(
    ("text", "data"),
    [("", b""), ("QQ==", b"A"), ("QUI=", b"AB"), ("QUJD", b"ABC"), ("+/8=", b"\xfb\xff"),
     ("QR==", b"A"), (b"QUJD", b"ABC"), (memoryview(b'"QUJD"')[1:-1], b"ABC")],
)  # fmt: skip
def test_base64_is_decoded(text: str | bytes | memoryview, data: bytes) -> None:
    assert decode_base64(text) == data


@pytest.mark.parametrize(
    "text",
    ["QUJDRA==", "QUJDRA=", "QUJDRA", "QUJDRA==\n", "\r\nQUJD\r\nRA==\r\n", "QUJD\tRA\t==",
     " QUJD RA==", "QUJDRA \n", "QUJD\nRA\n", "QUJDRA=\n=", "QUJDRB"],
)  # fmt: skip
def test_base64_is_decoded_as_tools_write_it(text: str) -> None:
    for form in (text, text.encode(), memoryview(f'"{text}"'.encode())[1:-1]):
        assert decode_base64(form) == b"ABCD"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Q", "length is wrong, so it may be cut off"),
        ("QUJDR", "length is wrong"),
        ("=", "length is wrong"),
        ("====", "length is wrong"),
        ("QQ===", "length is wrong"),
        ("QUJD====", "length is wrong"),
        ("QQ==QQ==", "a = before its end"),
        ("QQ==\nQQ==", "a = before its end"),
        ("Q=Q", "a = before its end"),
        ("-_8=", "URL-safe alphabet"),
        ("QUJD_w", "URL-safe alphabet"),
        ("QU D\nRA==", r"each \+ may have become a space"),
        ("QU-D RA=", "URL-safe alphabet"),
        ("QUJD%2B%3D", "percent-encoded"),
        ("QUJD\\nRA==", "backslashes"),
        ('"QUJD"', "quotes"),
        ("QUJ\x80", "other than A-Z"),
        ("QUJD\x0b", "other than A-Z"),
        ("QUJ\xe9", "other than A-Z"),
        ("QU\ud800D", "other than A-Z"),
        ("\ufeffQUJD", "other than A-Z"),
        ("data:,QQ==", "other than A-Z"),
        ("a-b.c", "other than A-Z"),
        (b"QUJ\xff", "other than A-Z"),
    ],
)
def test_what_is_not_base64_is_rejected_by_its_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidImageError, match=f"^not valid base64: .*{reason}"):
        decode_base64(text)


@settings(deadline=None)
@given(st.data(), st.binary())
def test_line_breaks_and_missing_padding_change_no_byte(draw: st.DataObject, data: bytes) -> None:
    text = encode_base64(data).rstrip("=" if draw.draw(st.booleans()) else "")
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    parts = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    assert decode_base64(draw.draw(st.sampled_from(["\n", "\r\n", "\t"])).join(parts)) == data


@settings(deadline=None)
@given(st.binary())
def test_base64_is_the_standard_one_and_comes_back(data: bytes) -> None:
    text = encode_base64(data)
    assert text == base64.b64encode(data).decode()
    assert decode_base64(text) == decode_base64(memoryview(text.encode())) == data


@settings(deadline=None)
@given(st.text() | st.binary())
def test_any_base64_gives_bytes_or_an_image_error(text: str | bytes) -> None:
    with suppress(InvalidImageError):
        assert isinstance(decode_base64(text), bytes)


@pytest.mark.parametrize("content_type", FILES)
def test_an_image_is_read(content_type: str) -> None:
    data = FILES[content_type]
    found = read_image(data)
    assert found == Image(data, content_type, 64, 64)
    assert found.data is data


@pytest.mark.parametrize(
    ("content_type", "name"),
    [("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp")],
)
def test_a_content_type_has_its_extension(content_type: str, name: str) -> None:
    assert extension(content_type) == name


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [(64, 64, True), (4096, 64, True), (64, 4096, True), (63, 64, False), (64, 63, False),
     (4097, 64, False), (64, 4097, False)],
)  # fmt: skip
def test_an_init_image_has_64_to_4096_pixels_a_side(
    kind: str, width: int, height: int, fits: bool
) -> None:
    data = flat(width, height, kind=kind)
    if fits:
        assert check_init_image(data)[2:] == (width, height)
    else:
        with pytest.raises(InvalidImageError, match="64 to 4096 pixels a side"):
            check_init_image(data)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((8064, 6048), "the image has 8064 x 6048 pixels, and .* pixels a side: scale it down"),
        ((63, 5000), "the image has 63 x 5000 pixels, and .* pixels a side: scale it down"),
        ((640, 8), "the image has 640 x 8 pixels, and .* pixels a side: scale it up"),
    ],
)
def test_an_image_of_wrong_sides_is_told_its_size_and_what_to_do(
    size: tuple[int, int], reason: str
) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        check_init_image(png_of(ihdr(*size), IDAT, IEND))


def test_the_largest_init_image_is_taken() -> None:
    assert check_init_image(flat(4096, 4096))[2:] == (4096, 4096)


def test_the_size_limit_is_the_callers() -> None:
    data = FILES["image/png"]
    assert check_init_image(data, max_bytes=len(data)).data is data
    with pytest.raises(InvalidImageError, match=f"more than {len(data) - 1} bytes"):
        check_init_image(data, max_bytes=len(data) - 1)


def test_an_image_that_is_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PillowImage, "open", _never)
    for kind in ("png", "jpeg", "webp"):
        with pytest.raises(InvalidImageError, match="64 to 4096 pixels a side"):
            check_init_image(flat(4097, 4097, kind=kind))


def _never(*_: object, **__: object) -> None:
    raise AssertionError


@pytest.mark.parametrize(("color", "depth"), KINDS_OF_PNG)
@pytest.mark.parametrize("interlaced", [0, 1])
def test_every_kind_of_png_is_an_init_image(color: int, depth: int, interlaced: int) -> None:
    kind = {"color": color, "depth": depth, "interlaced": interlaced}
    assert check_init_image(black_png(65, 71, **kind))[2:] == (65, 71)
    with pytest.raises(InvalidImageError, match="damaged"):
        check_init_image(black_png(65, 71, **kind, more_bytes=-1))


@pytest.mark.parametrize(
    "data",
    [
        jpeg(mode="L"),
        jpeg(mode="CMYK"),
        jpeg(progressive=True),
        mpo(),
        mpo().replace(b"MPF\0", b"MPF\0?"),
        jpeg(exif=b"Exif\0\0no EXIF"),
        png(exif=b"Exif\0\0no EXIF"),
        png(mode="P", transparency=b"\0" * 300),
        webp(lossless=True),
        webp(mode="RGBA"),
        png_of(ihdr(64, 64), chunk(b"IDAT", ROWS[:9]), TEXT, chunk(b"IDAT", ROWS[9:]), IEND),
        png_of(ihdr(64, 64), IDAT, TEXT.replace(b"ours", b"hers"), IEND),
        png_of(ihdr(64, 64), chunk(b"iCCP", b"\0\0" + zlib.compress(bytes(2_000_000))), IDAT, IEND),
    ],
    ids=["grey JPEG", "CMYK", "progressive", "MPO", "MPO of nonsense", "JPEG with odd EXIF",
         "PNG with odd EXIF", "odd transparency", "lossless WebP", "WebP with alpha",
         "a text between the pixels", "wrong CRC of a text", "huge profile"],
)  # fmt: skip
def test_what_decoders_make_an_image_of_is_an_init_image(data: bytes) -> None:
    """Pillow warns of some of it, which would fail this test, were it let through."""
    assert check_init_image(data)[2:] == (64, 64)


@pytest.mark.parametrize(
    "data",
    [
        png_of(ihdr(4096, 4096), IDAT, IEND),
        png_of(ihdr(64, 64), IEND),
        png_of(ihdr(64, 64), chunk(b"IDAT"), IEND),
        png_of(ihdr(64, 64), chunk(b"IDAT", b"no deflate"), IEND),
        png_of(ihdr(64, 64), IDAT.replace(ROWS[-5:], b"wrong"), IEND),
        png_of(ihdr(64, 64), ihdr(65, 64), IDAT, IEND),
        png_of(ihdr(64, 64), ihdr(30_000, 30_000), IDAT, IEND),
        png_of(ihdr(64, 64, color=1), IDAT, IEND),
        png_of(ihdr(64, 64, depth=4), IDAT, IEND),
        png_of(ihdr(64, 64, color=3), IDAT, IEND),
        jpeg().replace(b"\xff\xdb", b"\xff\xfe"),
        LOSSLESS[:60] + b"\xff" * (len(LOSSLESS) - 60),
        LOSSLESS[:21] + b"\x50" + LOSSLESS[22:],
    ],
    ids=["PNG with too few rows", "no pixels", "empty pixels", "no deflate", "wrong CRC",
         "two headers", "huge second header", "unknown color", "unknown depth", "no palette",
         "JPEG without tables", "WebP of nonsense", "WebP of two sizes"],
)  # fmt: skip
def test_what_cannot_be_decoded_is_no_init_image(data: bytes) -> None:
    read_image(data)
    with pytest.raises(InvalidImageError, match=r"^the image is damaged$"):
        check_init_image(data)


MEASURE = """
import re, sys
from pathlib import Path
from sd3.domain.image import InvalidImageError, check_init_image
before = 0
for length in sys.argv[1:]:
    data = sys.stdin.buffer.read(int(length))
    try:
        check_init_image(data)
    except InvalidImageError:
        pass
    peak = int(re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())[1])
    before = before or peak
print(peak / before)
"""


def growth(*images: bytes) -> float:
    """Measure the peak of memory for the images in a process, as a multiple of the first's."""
    command = [sys.executable, "-c", MEASURE, *(str(len(data)) for data in images)]
    ran = subprocess.run(  # noqa: S603
        command, input=b"".join(images), cwd=PACKAGE, capture_output=True, check=True
    )
    assert not ran.stderr
    return float(ran.stdout)


def test_a_png_bomb_is_stopped_early_and_never_held() -> None:
    """Neither pixels beyond those of the header, nor texts and profiles, fill the memory."""
    pixels = chunk(b"IDAT", zlib.compress(bytes(30_000_000), 1))
    megabyte = zlib.compress(bytes(1_000_000))
    profiles = chunk(b"iCCP", b"name\0\0" + megabyte) * 250
    texts = chunk(b"zTXt", b"name\0\0" + zlib.compress(bytes(30_000_000), 1))
    bombs = (
        png_of(ihdr(64, 64), pixels, IEND),
        png_of(ihdr(64, 64), profiles, IDAT, IEND),
        png_of(ihdr(64, 64), texts, IDAT, IEND),
    )
    assert growth(png(), *bombs) < 1.5
    assert growth(png(), flat(4096, 4096)) > 1.5  # what is held would be seen


def test_pillow_is_imported_for_a_clients_image_only() -> None:
    """It takes longer to import than most requests take."""
    code = (
        "import sys, sd3.domain.request, sd3.upstreams.init_image;"
        "from sd3.domain.image import read_image;"
        "read_image(sys.stdin.buffer.read()); print('PIL' in sys.modules)"
    )
    for data in FILES.values():
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], input=data, cwd=PACKAGE, capture_output=True, check=True
        )
        assert ran.stdout == b"False\n"


@pytest.mark.parametrize("content_type", FILES)
@pytest.mark.parametrize(
    "head",
    ["", "\n ", "data:image/png;base64,", "DATA:Image/JPEG;charset=utf-8;Base64,",
     "data:image/svg+xml;base64,", "data:image/jpg;base64,", "data:;base64,",
     "data:application/octet-stream;base64,", "data:*/*;base64,", "data:text/plain;base64,",
     "data:image/png;base64, ",
     " data:image/png; base64,\r\n", f"data:image/png;name={'x' * 255}.png;base64,"],
)  # fmt: skip
def test_an_init_images_format_follows_from_its_bytes(head: str, content_type: str) -> None:
    text = encode_base64(FILES[content_type])
    for body in (text, text + "\n", text.rstrip("="), encodebytes(FILES[content_type]).decode()):
        found = decode_init_image(head + body)
        assert found == Image(FILES[content_type], content_type, 64, 64)


def test_init_image_has_at_most_4_500_000_bytes() -> None:
    data = jpeg() + bytes(MAX_INIT_BYTES - len(jpeg()))
    for head in ("", "data:image/png;base64,"):
        assert len(decode_init_image(head + encode_base64(data)).data) == MAX_INIT_BYTES
        with pytest.raises(PydanticCustomError, match="more than 4500000 bytes"):
            decode_init_image(head + encode_base64(data + b"\0"))


def test_line_breaks_do_not_count_as_bytes_of_the_image() -> None:
    data = jpeg() + bytes(MAX_INIT_BYTES - len(jpeg()))
    wrapped = encodebytes(data).decode().replace("\n", "\r\n")
    assert decode_init_image(wrapped).data == data
    with pytest.raises(PydanticCustomError, match="more than 4500000 bytes"):
        decode_init_image(encodebytes(data + b"\0").decode())


@pytest.mark.parametrize("text", ["?" * 6_000_001, "? \n" * 6_000_001])
def test_what_is_too_long_is_not_decoded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sd3.domain.image.decode_base64", _never)
    with pytest.raises(PydanticCustomError, match="more than 4500000 bytes"):
        decode_init_image(text)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (7, "string_type", "Input should be a string of base64"),
        (True, "string_type", "Input should be a string of base64"),
        ([PNG_TEXT], "string_type", "Input should be a string of base64"),
        (FILES["image/png"], "string_type", "Input should be a string of base64"),
        ("", "picture", "the image is empty"),
        (" \n", "picture", "the image is empty"),
        ("data:image/png;base64,", "picture", "the image is empty"),
        ("c2VjcmV0", "picture", "not a PNG, JPEG, WebP, AVIF or HEIC image"),
        ("secrets15", "picture", "not valid base64: its length is wrong"),
        ("{secret}", "picture", "not valid base64: there are characters other than"),
        (f'"{PNG_TEXT}"', "picture", "not valid base64: there are quotes"),
        (PNG_TEXT.replace("+", "-").replace("/", "_"), "picture", "URL-safe alphabet"),
        ("https://secret.test/a.png", "picture", "this is a URL; it should be base64"),
        ("blob:https://secret.test/7", "picture", "this is a URL; it should be base64"),
        ("0753aed38dd16ef96528d89cf0af37ce", "picture", "the id of an upload; .* init_image_id"),
        (FILES["image/png"].hex(), "picture", "this is hex; it should be base64"),
        (FILES["image/jpeg"].hex().upper(), "picture", "this is hex; it should be base64"),
        (encode_base64(PNG_TEXT.encode()), "picture", "this is base64 of base64"),
        (f"data:image/png,{quote(FILES['image/png'])}", "picture", "a data: URI should begin with"),
        (f"data:image/png;base64,{quote(PNG_TEXT, safe='')}", "picture", "is percent-encoded"),
        (f"data:image/png,{PNG_TEXT}", "picture", "a data: URI should begin with"),
        (f"data:image/png;base64{PNG_TEXT}", "picture", "a data: URI should begin with"),
        (f"data:image/png;{'x' * 1024};base64,{PNG_TEXT}", "picture", "a data: URI should begin"),
        (encode_base64(flat(63, 64)), "picture", "64 to 4096 pixels a side"),
        (encode_base64(image(kind="gif")), "picture", "not a PNG, JPEG, WebP, AVIF or HEIC image"),
    ],
)
def test_an_invalid_init_image_is_rejected_without_quoting_it(
    value: object, kind: str, message: str
) -> None:
    with pytest.raises(PydanticCustomError, match=message) as caught:
        decode_init_image(value)
    assert caught.value.type == kind
    assert "secret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(JSON | st.binary().map(encode_base64) | st.text().map("data:image/png;base64,{}".format))
def test_any_init_image_gives_an_image_or_its_error(value: object) -> None:
    with suppress(PydanticCustomError):
        assert isinstance(decode_init_image(value), Image)


@settings(deadline=None)
@given(st.data())
def test_any_bytes_give_an_image_or_an_image_error(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([*FILES.values(), mpo(), black_png(64, 64, interlaced=1)]))
    position = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 200))
    new = data.draw(st.binary(max_size=4))
    with suppress(InvalidImageError):
        check_init_image(whole[:position] + new + whole[position + len(new) :])
