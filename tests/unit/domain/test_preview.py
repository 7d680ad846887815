"""Previews, of images as upstreams return them."""

from io import BytesIO

import pytest
from PIL import Image

from sd3.domain.image_formats import InvalidImageError
from sd3.domain.preview import MAX_PREVIEW_BYTES, make_preview
from tests.support.factories.images import flat, image, jpeg, png


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (flat(1024, 1024, kind="jpeg"), (512, 512)),
        (flat(1344, 768), (512, 293)),
        (flat(640, 1536, kind="webp"), (213, 512)),
        (flat(1024, 1024, mode="RGBA"), (512, 512)),
        (png(64, 64), (64, 64)),
    ],
)
def test_a_preview_is_a_small_webp_of_the_same_shape(data: bytes, size: tuple[int, int]) -> None:
    with Image.open(BytesIO(make_preview(data))) as opened:
        assert (opened.format, opened.size) == ("WEBP", size)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_even_noise_is_small(kind: str) -> None:
    assert len(make_preview(image(1024, 1024, kind=kind))) <= MAX_PREVIEW_BYTES


@pytest.mark.parametrize("data", [b"", b"nothing", jpeg()[:100], png()[:-40]])
def test_what_is_no_image_has_no_preview(data: bytes) -> None:
    with pytest.raises(InvalidImageError):
        make_preview(data)
