"""The parts that requests to Stability's own API and to its models on Bedrock have in common."""

from typing import Final

from sd3.domain.aspect_ratios import ASPECT_RATIOS
from sd3.domain.request import GenerateRequest

MAX_SEED: Final = 2**32 - 2

_MAX_DIGITS: Final = len(str(MAX_SEED))


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
        # The result's size can differ from the requested one.
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
