"""Images that the tests of the `diffusers` engine generate and compare."""

from typing import Any

from PIL import Image, ImageChops, ImageStat

from model_server.contract.schemas import GenerateRequest
from model_server.engines.diffusers.engine import DiffusersEngine

ROUNDING = 1
"""A CPU may compute a batch of another size with other kernels, which round a level differently."""
GREY = Image.new("RGB", (1024, 1024), "grey")
_FIELDS: dict[str, Any] = {"prompt": "a fox", "steps": 2}


def generate(
    engine: DiffusersEngine, *seeds: int, init_image: Image.Image | None = None, **fields: Any
) -> list[Image.Image]:
    """Generate an image for each seed, 7 by default; `fields` change the request."""
    request = GenerateRequest(**_FIELDS | fields)
    generated = engine.generate(request, seeds=seeds or (7,), init_image=init_image)
    images = [each.image for each in generated]
    assert None not in images
    return [image for image in images if image]


def pixels(images: list[Image.Image]) -> list[bytes]:
    """Return the pixels of each image, to compare."""
    return [image.tobytes() for image in images]


def difference(images: list[Image.Image], others: list[Image.Image]) -> int:
    """Return the largest difference between two lists of images, in levels from 0 to 255."""
    differences = [ImageChops.difference(*pair) for pair in zip(images, others, strict=True)]
    return max(high for each in differences for _, high in ImageStat.Stat(each).extrema)
