"""The parts that requests to Stability's own API and to its models on Bedrock have in common."""

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
"""Aspect ratios by the sizes of the contract. The images have about one megapixel. Their size can
differ from the requested size."""


def request_fields(
    request: GenerateRequest, *, seed: int, has_image: bool
) -> dict[str, str | int | float]:
    """Return the fields of one image that both APIs have, without the init image.

    With an init image the result has the init image's size, and the request may not set one.
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
    """Return the seed to send and to record, with which the image can be generated again.

    Stability's largest seed is one less than the contract's, and 0 would mean a random seed. So
    4294967295 becomes 1.
    """
    return seed if seed <= MAX_SEED else 1


def returned_seed(value: object, *, sent: int) -> int:
    """Return the seed of a response, a number or a string, or the sent one if it has none."""
    text = str(value)
    seed = int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else 0
    return seed if 0 < seed <= MAX_SEED else sent
