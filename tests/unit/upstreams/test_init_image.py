"""Init images as they are sent to upstreams."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngImageFile

from sd3.domain.colour_profile import rgb_profile
from sd3.domain.image import MAX_SIDE, Image, check_init_image, read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.errors import InvalidRequestError
from sd3.upstreams import init_image as preparing
from sd3.upstreams.init_image import InitImagePreparer, prepare_init_image
from tests.support.factories.heif_files import P3
from tests.support.factories.icc_profiles import cmyk_profile, grey_profile
from tests.support.factories.images import (
    BLUE,
    RED,
    SECRET,
    WHITE,
    black_png,
    chunk,
    flat,
    ihdr,
    image,
    jpeg,
    phone_photo,
    png,
    png_of,
    saved,
    two_colored,
    webp,
)


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


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_image_that_has_the_size_is_left_as_it_is(kind: str) -> None:
    start = read_image(image(640, 1536, kind=kind))
    assert prepare_init_image(start, 640, 1536) is start


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
    image = prepare_init_image(read_image(data), 1152, 896)
    assert image.content_type == content_type
    assert opened(image).size == (1152, 896)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "png"), ("P", "png"), ("RGB", "jpeg"), ("CMYK", "jpeg"), ("RGB", "webp")],
)
def test_an_image_is_stretched_and_its_colors_stay(mode: str, kind: str) -> None:
    start = read_image(saved(two_colored(mode=mode), kind=kind))
    image = opened(prepare_init_image(start, 640, 1536))
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
    assert near(opened(prepare_init_image(start, 64, 64)), (30, 30), (expected,) * 3)


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode: str, kind: str) -> None:
    image = PillowImage.new("RGBA", (100, 80), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (50, 0, 100, 80))
    start = read_image(saved(image.convert(mode), kind=kind))
    created = opened(prepare_init_image(start, 640, 640))
    assert near(created, (10, 10), WHITE)
    assert near(created, (630, 630), (0, 0, 0))


def test_transparent_color_of_a_png_becomes_white() -> None:
    image = two_colored()
    image.info["transparency"] = RED
    created = opened(
        prepare_init_image(read_image(saved(image, kind="png", transparency=RED)), 640, 640)
    )
    assert near(created, (10, 10), WHITE)
    assert near(created, (630, 630), BLUE)


CORNERS = {"top left": (8, 8), "top right": (56, 8), "down left": (8, 56), "down right": (56, 56)}


def four_colored() -> PillowImage.Image:
    made = PillowImage.new("RGB", (96, 64), RED)
    made.paste(BLUE, (48, 0, 96, 32))
    made.paste(WHITE, (0, 32, 48, 64))
    return made


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("same_size", [True, False])
@pytest.mark.parametrize(
    ("orientation", "blue", "white"),
    [
        (1, "top right", "down left"),
        (2, "top left", "down right"),
        (3, "down left", "top right"),
        (4, "down right", "top left"),
        (5, "down left", "top right"),
        (6, "down right", "top left"),
        (7, "top right", "down left"),
        (8, "top left", "down right"),
    ],
)
def test_an_image_is_rotated_by_its_exif_orientation(
    kind: str, orientation: int, blue: str, white: str, *, same_size: bool
) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    made = four_colored().resize((64, 64), PillowImage.Resampling.NEAREST)
    made = made if same_size else made.resize((640, 300), PillowImage.Resampling.NEAREST)
    start = read_image(saved(made, kind=kind, quality=95, exif=exif))
    sent = opened(prepare_init_image(start, 64, 64))
    assert sent.size == (64, 64)
    assert not sent.getexif()
    expected = dict.fromkeys(CORNERS, RED) | {blue: BLUE, white: WHITE}
    for corner, color in expected.items():
        assert near(sent, CORNERS[corner], color), corner


@pytest.mark.parametrize("orientation", [0, 1, 9, 300])
@pytest.mark.parametrize("any_size", [True, False])
@pytest.mark.parametrize("kind", ["png", "jpeg", "mpo", "webp"])
def test_an_upright_image_loses_its_metadata_and_no_pixel(
    kind: str, orientation: int, *, any_size: bool
) -> None:
    start = read_image(phone_photo((80, 64), kind=kind, orientation=orientation))
    size = (160, 128) if any_size else (80, 64)
    prepared = prepare_init_image(start, *size, any_size=any_size)
    assert SECRET.encode() in start.data
    assert SECRET.encode() not in prepared.data
    assert not opened(prepared).getexif()
    assert opened(prepared).tobytes() == PillowImage.open(BytesIO(start.data)).tobytes()


@pytest.mark.parametrize("size", [(80, 64), (1024, 1024)])
def test_an_image_that_has_to_be_turned_gets_the_requested_size_from_every_upstream(
    size: tuple[int, int],
) -> None:
    """So it is encoded once, and is never larger than what was sent in."""
    start = read_image(phone_photo((64, 80), kind="jpeg", orientation=6))
    prepared = prepare_init_image(start, *size, any_size=True)
    assert opened(prepared).size == size
    assert SECRET.encode() not in prepared.data


@pytest.mark.parametrize("any_size", [True, False])
@pytest.mark.parametrize(
    ("mode", "kind", "value", "expected"),
    [("CMYK", "jpeg", (0, 255, 255, 0), RED), ("I;16", "png", 128 * 256, (128, 128, 128))],
)
def test_what_few_decoders_know_is_sent_as_rgb_of_8_bits(
    mode: str, kind: str, value: Any, expected: tuple[int, int, int], *, any_size: bool
) -> None:
    start = read_image(saved(PillowImage.new(mode, (64, 64), value), kind=kind))
    sent = opened(prepare_init_image(start, 64, 64, any_size=any_size))
    assert sent.mode == "RGB"
    assert near(sent, (30, 30), expected)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0no EXIF", b"Exif\0\0II*\0\x08", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"],
    ids=["nonsense", "cut off in its head", "cut off"],
)
def test_image_with_damaged_exif_is_not_turned(kind: str, exif: bytes) -> None:
    created = opened(
        prepare_init_image(read_image(saved(two_colored(), kind=kind, exif=exif)), 640, 640)
    )
    assert near(created, (10, 630), RED)
    assert near(created, (630, 10), BLUE)


def test_an_image_is_rotated_although_its_exif_cannot_be_rewritten() -> None:
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x0131] = 6, "cameras"
    text, ratio = b"\x01\x31\0\x02\0\0\0\x08", b"\x01\x31\0\x05\0\0\0\x01"
    data = saved(two_colored(), kind="jpeg", exif=exif.tobytes().replace(text, ratio))
    assert ratio in data
    created = opened(prepare_init_image(read_image(data), 640, 640))
    assert near(created, (10, 10), RED)
    assert near(created, (10, 630), BLUE)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_an_image_with_too_many_bytes_is_encoded_again(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    profile = jpeg(300, 300)  # noise, and no profile at all
    data = saved(PillowImage.new("RGB", (1024, 1024)), kind=kind, icc_profile=profile)
    monkeypatch.setattr(preparing, "MAX_BYTES", len(data) - 1)
    created = prepare_init_image(read_image(data), 1024, 1024)
    assert len(created.data) < len(data) - len(profile) / 2
    assert opened(created).size == (1024, 1024)


def test_no_image_of_the_contract_has_too_many_bytes() -> None:
    """A PNG of noise is the largest: its bytes are its pixels'."""
    created = prepare_init_image(read_image(png(1100, 1100)), 1024, 1024)
    assert len(created.data) < 1024 * 1024 * 3.1 < preparing.MAX_BYTES


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
        prepare_init_image(read_image(data), 1024, 1024)
    (field_error,) = caught.value.field_errors
    assert field_error == (("body", "init_image"), "the image cannot be decoded", "picture")
    assert caught.value.message == "The init image cannot be decoded."


@pytest.mark.parametrize("data", [b"", b"text", flat(64, 64, kind="bmp"), flat(64, 64, kind="gif")])
def test_what_is_no_image_is_the_clients_error(data: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        prepare_init_image(Image(data, "image/png", 64, 64), 1024, 1024)


PHOTOS = [
    *(phone_photo((64, 80), kind=kind, orientation=6) for kind in ("png", "jpeg", "webp")),
    jpeg(mode="CMYK", exif=b"Exif\0\0" + SECRET.encode()),
    png(mode="P", exif=b"Exif\0\0" + SECRET.encode()),
    jpeg(exif=b"Exif\0\0" + SECRET.encode(), icc_profile=grey_profile(1.8)),
    jpeg(exif=b"Exif\0\0" + SECRET.encode(), icc_profile=rgb_profile(P3)),
    jpeg(mode="CMYK", exif=b"Exif\0\0" + SECRET.encode(), icc_profile=cmyk_profile()),
]


@settings(deadline=None)
@given(st.data())
def test_every_image_that_is_accepted_can_be_sent(draw: st.DataObject) -> None:
    """Damage files in a few bytes, often in their EXIF or their profile."""
    data = draw.draw(st.sampled_from(PHOTOS))
    exif = data.index(SECRET.encode())
    position = draw.draw(st.integers(max(exif - 200, 0), exif + 200) | st.integers(0, 2000))
    new = draw.draw(st.binary(min_size=1, max_size=4))
    with suppress(InvalidImageError):
        accepted = check_init_image(data[:position] + new + data[position + len(new) :])
        for any_size, fit in ((True, "contain"), (False, "cover")):
            sent = prepare_init_image(accepted, 64, 80, fit, any_size=any_size)  # type: ignore[arg-type]
            assert check_init_image(sent.data) == sent


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
            prepare_init_image(Image(bomb, "image/png", *said), 1024, 1024)


def _never(*_: object) -> None:
    raise AssertionError


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Record the images that are resized from now on."""
    seen: list[tuple[Any, ...]] = []

    def count(start: Image, width: int, height: int, fit: Any, **options: bool) -> Image:
        seen.append((start, width, height))
        return prepare_init_image(start, width, height, fit, **options)

    monkeypatch.setattr(preparing, "prepare_init_image", count)
    return seen


def test_image_of_one_job_is_resized_once(counted: list[tuple[Any, ...]]) -> None:
    start, preparer = read_image(png(100, 80)), InitImagePreparer()
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(lambda _: preparer.prepare(start, 64, 80), range(16)))
    assert counted == [(start, 64, 80)]
    assert all(one is created[0] for one in created)


def test_another_image_and_another_size_are_resized_again(
    counted: list[tuple[Any, ...]],
) -> None:
    start, other, preparer = read_image(png(100, 80)), read_image(png(80, 80)), InitImagePreparer()
    for image_, width in ((start, 64), (start, 65), (other, 65), (start, 65)):
        assert preparer.prepare(image_, width, 70).width == width
    assert len(counted) == 4


def test_image_that_cannot_be_decoded_is_not_remembered(
    counted: list[tuple[Any, ...]],
) -> None:
    preparer = InitImagePreparer()
    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            preparer.prepare(Image(b"", "image/png", 64, 64), 70, 70)
    assert len(counted) == 2
