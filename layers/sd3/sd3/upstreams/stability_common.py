"""What a request to Stability's own API and to its models on Bedrock has in common."""

from types import MappingProxyType
from typing import Final

from sd3.domain.request import GenerateRequest

MAX_SEED: Final = 2**32 - 2

_MAX_DIGITS: Final = len(str(MAX_SEED))

ASPECT_RATIOS: Final = MappingProxyType({
    (1024, 1024): "1:1", (1344, 768): "16:9", (768, 1344): "9:16",
    (1536, 640): "21:9", (640, 1536): "9:21", (1216, 832): "3:2",
    (832, 1216): "2:3", (1152, 896): "5:4", (896, 1152): "4:5",
})  # fmt: skip
"""By the sizes of the contract; the images have about a megapixel, and not always that size."""


def request_fields(
    request: GenerateRequest, *, seed: int, has_image: bool
) -> dict[str, str | int | float]:
    """The fields of one image, all but the image and what only one of the two has.

    An image that is generated from an image has the image's size, and none may be asked for.
    """
    fields: dict[str, str | int | float] = {
        "prompt": request.prompt,
        "mode": "image-to-image" if has_image else "text-to-image",
        "seed": seed,
        "output_format": request.image_encoding,
    }
    if request.negative_prompt:
        fields["negative_prompt"] = request.negative_prompt
    if has_image:
        fields["strength"] = request.strength
    else:
        fields["aspect_ratio"] = ASPECT_RATIOS[request.width, request.height]
    return fields


def reproducible(seed: int) -> int:
    """The seed that an image is generated with, and keeps, so that it can be generated again.

    They end one below the contract's, and 0 would be a random one: 4294967295 is generated as 1.
    """
    return seed if seed <= MAX_SEED else 1


def answered_seed(said: object, *, sent: int) -> int:
    """The seed that an answer names, as a number or a text; if it names none, the one sent."""
    text = str(said)
    seed = int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else 0
    return seed if 0 < seed <= MAX_SEED else sent
