"""Generated images in a smaller size, as clients of OpenAI's API ask for them."""

from io import BytesIO

import pytest
from PIL import Image as PillowImage

from sd3.domain.image import Image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.scaled_image import scaled
from tests.support.factories.images import jpeg, saved, two_colored


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_image_is_scaled_in_its_format_and_its_middle_is_kept(kind: str) -> None:
    whole = two_colored((1344, 768))
    whole.paste("green", (0, 0, 200, 768))  # farther out than the square in the middle
    smaller = scaled(Image(saved(whole, kind=kind), f"image/{kind}", 1344, 768), (256, 256))
    assert (smaller.content_type, smaller.width, smaller.height) == (f"image/{kind}", 256, 256)
    with PillowImage.open(BytesIO(smaller.data)) as opened:
        assert (opened.format, opened.size) == (kind.upper(), (256, 256))
        left, right = (opened.convert("RGB").getpixel((x, 128)) for x in (2, 253))
    red, blue = (whole.getpixel((x, 384)) for x in (300, 1000))
    assert left == pytest.approx(red, abs=12)
    assert right == pytest.approx(blue, abs=12)


def test_an_image_of_the_size_keeps_its_bytes() -> None:
    image = Image(jpeg(256, 256), "image/jpeg", 256, 256)
    assert scaled(image, (256, 256)) is image


def test_what_cannot_be_decoded_is_no_image() -> None:
    with pytest.raises(InvalidImageError):
        scaled(Image(jpeg(512, 512)[:200], "image/jpeg", 512, 512), (256, 256))
