"""ThumbHashes, decoded again."""

import pytest

from sd3.domain.image import decode_base64, read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.placeholder import make_thumbhash
from tests.support.factories.images import BLUE, RED, image, jpeg, saved, two_colored
from tests.support.thumbhash_decoder import decode


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("size", [(512, 512), (768, 1344), (1536, 640)])
def test_a_placeholder_has_the_shape_and_the_colours_of_the_image(
    kind: str, size: tuple[int, int]
) -> None:
    hashed = decode_base64(make_thumbhash(read_image(saved(two_colored(size), kind=kind))))
    assert len(hashed) <= 25
    ratio, color = decode(hashed)
    assert ratio == pytest.approx(size[0] / size[1], rel=0.1)
    for x, expected in ((0.15, RED), (0.85, BLUE)):
        assert color(x, 0.5) == pytest.approx(expected, abs=60)


def test_what_is_transparent_is_no_obstacle() -> None:
    assert make_thumbhash(read_image(image(80, 60, mode="RGBA")))


def test_an_image_that_is_damaged_has_none() -> None:
    data = jpeg(300, 200)
    with pytest.raises(InvalidImageError):
        make_thumbhash(read_image(data[:-500] + bytes(500)))
