"""How an init image of another shape is fitted into the requested size."""

from collections.abc import Sequence
from io import BytesIO

import pytest
from PIL import Image as PillowImage

from sd3.domain.image import read_image
from sd3.domain.request import InitImageFit
from sd3.upstreams.init_image import InitImagePreparer, prepare_init_image
from tests.support.factories.images import BLUE, RED, WHITE, exif, flat, saved

GREEN, BLACK = (0, 128, 0), (0, 0, 0)


def striped(kind: str = "png", orientation: int = 1) -> bytes:
    """Save a red, a green and a blue third; the green one has a black middle."""
    made = PillowImage.new("RGB", (384, 64), RED)
    made.paste(GREEN, (128, 0, 256, 64))
    made.paste(BLACK, (176, 16, 208, 48))
    made.paste(BLUE, (256, 0, 384, 64))
    return saved(made, kind=kind, quality=98, exif=exif(orientation))


def pixels(data: bytes, *places: tuple[int, int]) -> list[tuple[int, ...]]:
    opened = PillowImage.open(BytesIO(data)).convert("RGB")
    return [opened.getpixel(at) for at in places]  # type: ignore[misc]


def near(found: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(abs(a - b) <= 6 for one, two in pairs for a, b in zip(one, two, strict=True))


CORNERS_AND_MIDDLE = ((4, 4), (123, 4), (4, 123), (123, 123), (64, 64))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("cover", [GREEN, GREEN, GREEN, GREEN, BLACK]),
        ("contain", [WHITE, WHITE, WHITE, WHITE, BLACK]),
        ("stretch", [RED, BLUE, RED, BLUE, BLACK]),
    ],
)
@pytest.mark.parametrize("any_size", [True, False])
def test_an_image_of_another_shape_is_fitted(
    kind: str, fit: InitImageFit, expected: list[tuple[int, ...]], *, any_size: bool
) -> None:
    """With `any_size` the upstream stretches what it gets, as OctoAI did."""
    start = read_image(striped(kind))
    image = prepare_init_image(start, 128, 128, fit, any_size=any_size)
    if any_size and fit == "stretch":
        assert image.data == prepare_init_image(start, 384, 64).data
        return
    assert read_image(image.data)[2:] == (128, 128)
    assert near(pixels(image.data, *CORNERS_AND_MIDDLE), expected)


def test_an_image_is_contained_in_full_and_undistorted() -> None:
    image = prepare_init_image(read_image(striped()), 384, 384, "contain")
    edges = [(2, 158), (2, 162), (2, 222), (2, 226), (381, 192), (177, 178), (170, 178)]
    expected = [WHITE, RED, RED, WHITE, BLUE, BLACK, GREEN]
    assert near(pixels(image.data, *edges), expected)


def test_an_image_is_covered_undistorted() -> None:
    image = prepare_init_image(read_image(striped()), 128, 128)
    assert near(pixels(image.data, (26, 64), (38, 64), (88, 64), (102, 64)),
                [GREEN, BLACK, BLACK, GREEN])  # fmt: skip


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("cover", [GREEN, GREEN, GREEN, GREEN, BLACK]),
        ("contain", [WHITE, WHITE, WHITE, WHITE, BLACK]),
        ("stretch", [RED, RED, BLUE, BLUE, BLACK]),
    ],
)
@pytest.mark.parametrize("any_size", [True, False])
def test_an_image_is_turned_before_it_is_fitted(
    fit: InitImageFit, expected: list[tuple[int, ...]], *, any_size: bool
) -> None:
    start = read_image(striped("jpeg", orientation=6))
    image = prepare_init_image(start, 128, 128, fit, any_size=any_size)
    assert near(pixels(image.data, *CORNERS_AND_MIDDLE), expected)
    tall = prepare_init_image(start, 64, 384, fit, any_size=any_size)
    assert near(pixels(tall.data, (32, 40), (32, 192), (32, 340)), [RED, BLACK, BLUE])


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("size", [(64, 4096), (4096, 64), (65, 4096), (4095, 67)])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_the_narrowest_image_is_fitted(fit: InitImageFit, size: tuple[int, int], kind: str) -> None:
    start = read_image(flat(*size, kind=kind))
    image = prepare_init_image(start, 640, 1536, fit)
    assert read_image(image.data)[2:] == (640, 1536)
    assert near(pixels(image.data, (320, 768)), [BLACK])


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
def test_an_image_of_the_shape_is_the_same_in_every_fit(fit: InitImageFit) -> None:
    start = read_image(striped())
    assert prepare_init_image(start, 192, 32, fit).data == prepare_init_image(start, 192, 32).data
    assert prepare_init_image(start, 768, 128, fit, any_size=True).width == 384


def test_another_fit_is_prepared_again() -> None:
    start, preparer = read_image(striped()), InitImagePreparer()
    made = {fit: preparer.prepare(start, 64, 64, fit).data for fit in ("cover", "contain")}
    assert made["cover"] != made["contain"]
