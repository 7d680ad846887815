"""Init images in the requested size."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngImageFile

from sd3.domain.image import MAX_SIDE, Image, read_image
from sd3.errors import InvalidRequestError
from sd3.upstreams import resize as resizing
from sd3.upstreams.resize import Resizer, resized
from tests.support.factories.images import (
    black_png,
    chunk,
    flat,
    ihdr,
    image,
    jpeg,
    png,
    png_of,
    saved,
    webp,
)

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def opened(created: Image) -> PillowImage.Image:
    """Decode an image, and check that its size and type are the declared ones."""
    assert created == read_image(created.data)
    image = PillowImage.open(BytesIO(created.data))
    image.load()
    return image


def near(image: PillowImage.Image, at: tuple[int, int], color: tuple[int, int, int]) -> bool:
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return all(abs(one - other) <= 4 for one, other in zip(found, color, strict=True))


def two_colored(mode: str = "RGB", size: tuple[int, int] = (100, 80)) -> PillowImage.Image:
    """Red on its left, blue on its right."""
    image = PillowImage.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_image_that_has_the_size_is_left_as_it_is(kind: str) -> None:
    start = read_image(image(640, 1536, kind=kind))
    assert resized(start, 640, 1536) is start


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (png(100, 80), "image/png"),
        (jpeg(100, 80), "image/jpeg"),
        (webp(100, 80), "image/jpeg"),
        (webp(100, 80, lossless=True), "image/jpeg"),
        (png(1500, 1600), "image/png"),
        (jpeg(1500, 1600), "image/jpeg"),
    ],
)
def test_an_image_has_the_requested_size(data: bytes, content_type: str) -> None:
    image = resized(read_image(data), 1152, 896)
    assert image.content_type == content_type
    assert opened(image).size == (1152, 896)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "png"), ("P", "png"), ("RGB", "jpeg"), ("CMYK", "jpeg"), ("RGB", "webp")],
)
def test_an_image_is_stretched_and_its_colors_stay(mode: str, kind: str) -> None:
    start = read_image(saved(two_colored(mode), kind=kind))
    image = opened(resized(start, 640, 1536))
    assert image.mode == "RGB"
    assert near(image, (10, 10), RED)
    assert near(image, (200, 1500), RED)
    assert near(image, (440, 10), BLUE)
    assert near(image, (630, 1500), BLUE)


@pytest.mark.parametrize("mode", ["L", "I;16", "1"])
def test_grey_stays_grey(mode: str) -> None:
    grey = {"L": 128, "I;16": 128 * 256, "1": 255}[mode]
    start = read_image(saved(PillowImage.new(mode, (100, 80), grey), kind="png"))
    expected = 255 if mode == "1" else 128
    assert near(opened(resized(start, 64, 64)), (30, 30), (expected,) * 3)


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode: str, kind: str) -> None:
    image = PillowImage.new("RGBA", (100, 80), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (50, 0, 100, 80))
    start = read_image(saved(image.convert(mode), kind=kind))
    created = opened(resized(start, 640, 640))
    assert near(created, (10, 10), WHITE)
    assert near(created, (630, 630), (0, 0, 0))


def test_transparent_color_of_a_png_becomes_white() -> None:
    image = two_colored()
    image.info["transparency"] = RED
    created = opened(resized(read_image(saved(image, kind="png", transparency=RED)), 640, 640))
    assert near(created, (10, 10), WHITE)
    assert near(created, (630, 630), BLUE)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_image_is_rotated_by_its_exif_orientation(kind: str) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # to be turned to the right by a quarter
    start = read_image(saved(two_colored(), kind=kind, exif=exif))
    created = opened(resized(start, 640, 640))
    assert near(created, (10, 10), RED)
    assert near(created, (630, 10), RED)
    assert near(created, (10, 630), BLUE)
    assert not created.getexif()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0no EXIF", b"Exif\0\0II*\0\x08", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"],
    ids=["nonsense", "cut off in its head", "cut off"],
)
def test_image_with_damaged_exif_is_not_turned(kind: str, exif: bytes) -> None:
    created = opened(resized(read_image(saved(two_colored(), kind=kind, exif=exif)), 640, 640))
    assert near(created, (10, 630), RED)
    assert near(created, (630, 10), BLUE)


def test_an_image_is_rotated_although_its_exif_cannot_be_rewritten() -> None:
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x0131] = 6, "cameras"
    text, ratio = b"\x01\x31\0\x02\0\0\0\x08", b"\x01\x31\0\x05\0\0\0\x01"
    data = saved(two_colored(), kind="jpeg", exif=exif.tobytes().replace(text, ratio))
    assert ratio in data
    created = opened(resized(read_image(data), 640, 640))
    assert near(created, (10, 10), RED)
    assert near(created, (10, 630), BLUE)


def test_what_else_a_file_holds_is_left_out() -> None:
    start = read_image(png(100, 80, icc_profile=b"profile" * 1000))
    assert b"iCCP" in start.data
    created = resized(start, 64, 64)
    assert b"iCCP" not in created.data
    assert opened(created).info == {}


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_an_image_with_too_many_bytes_is_encoded_again(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    profile = jpeg(300, 300)  # noise, and no profile at all
    data = saved(PillowImage.new("RGB", (1024, 1024)), kind=kind, icc_profile=profile)
    monkeypatch.setattr(resizing, "MAX_BYTES", len(data) - 1)
    created = resized(read_image(data), 1024, 1024)
    assert len(created.data) < len(data) - len(profile) / 2
    assert opened(created).size == (1024, 1024)


def test_no_image_of_the_contract_has_too_many_bytes() -> None:
    """A PNG of noise is the largest: its bytes are its pixels'."""
    created = resized(read_image(png(1100, 1100)), 1024, 1024)
    assert len(created.data) < 1024 * 1024 * 3.1 < resizing.MAX_BYTES


@pytest.mark.parametrize(
    "data",
    [
        png_of(ihdr(70, 70), chunk(b"IDAT", b"no deflate"), chunk(b"IEND")),
        black_png(70, 70, more_bytes=-2000),
        jpeg().replace(b"\xff\xdb", b"\xff\xfe"),
        webp(lossless=True)[:60] + b"\xff" * (len(webp(lossless=True)) - 60),
    ],
    ids=["a PNG of nonsense", "too few pixels", "a JPEG without tables", "a WebP of nonsense"],
)
def test_image_that_cannot_be_decoded_is_the_clients_error(data: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        resized(read_image(data), 1024, 1024)
    (field_error,) = caught.value.field_errors
    assert field_error == (("body", "init_image"), "the image cannot be decoded", "picture")
    assert caught.value.message == "The init image cannot be decoded."


@pytest.mark.parametrize("data", [b"", b"text", flat(64, 64, kind="bmp"), flat(64, 64, kind="gif")])
def test_what_is_no_image_is_the_clients_error(data: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        resized(Image(data, "image/png", 64, 64), 1024, 1024)


@pytest.mark.parametrize(
    "size", [(64, 65), (4097, 64), (8000, 8000), (10_000, 10_000), (30_000, 30_000)]
)
def test_image_that_is_larger_than_was_checked_is_not_decoded(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """Make a small file that declares an image of gigabytes."""
    monkeypatch.setattr(PngImageFile, "load", _never)
    bomb = png_of(ihdr(*size), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND"))
    for said in ((64, 64), size if max(size) > MAX_SIDE else (64, 66)):
        with pytest.raises(InvalidRequestError):
            resized(Image(bomb, "image/png", *said), 1024, 1024)


def _never(*_: object) -> None:
    raise AssertionError


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Record the images that are resized from now on."""
    seen: list[tuple[Any, ...]] = []

    def count(start: Image, width: int, height: int) -> Image:
        seen.append((start, width, height))
        return resized(start, width, height)

    monkeypatch.setattr(resizing, "resized", count)
    return seen


def test_image_of_one_job_is_resized_once(counted: list[tuple[Any, ...]]) -> None:
    start, resizer = read_image(png(100, 80)), Resizer()
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(lambda _: resizer.resized(start, 64, 80), range(16)))
    assert counted == [(start, 64, 80)]
    assert all(one is created[0] for one in created)


def test_another_image_and_another_size_are_resized_again(
    counted: list[tuple[Any, ...]],
) -> None:
    start, other, resizer = read_image(png(100, 80)), read_image(png(80, 80)), Resizer()
    for image_, width in ((start, 64), (start, 65), (other, 65), (start, 65)):
        assert resizer.resized(image_, width, 70).width == width
    assert len(counted) == 4


def test_image_that_cannot_be_decoded_is_not_remembered(
    counted: list[tuple[Any, ...]],
) -> None:
    resizer = Resizer()
    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            resizer.resized(Image(b"", "image/png", 64, 64), 70, 70)
    assert len(counted) == 2
