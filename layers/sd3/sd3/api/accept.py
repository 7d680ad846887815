"""What a client accepts, by the header Accept (RFC 9110): JSON or an image, and of which type."""

import re
from collections.abc import Mapping
from typing import Final

_QUALITY: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

_NAMED_ONLY: Final = ("image/avif", "image/webp")
"""Types that many clients cannot show, in our order. `image/*` and `*/*` do not stand for them:
programs send these, and old browsers, without knowing what images there are."""

_JPEG: Final = ("image/jpeg", "image/*", "*/*")
"""What stands for JPEG, the most specific first, which counts."""


def prefers_json(accept: str) -> bool:
    """Return whether a client ranks application/json above images.

    `*/*` stands for images too, so a client that takes anything does not prefer JSON.
    """
    qualities = _qualities(accept)
    images = (q for name, q in qualities.items() if name == "*/*" or name.startswith("image/"))
    return qualities.get("application/json", 0) > max(images, default=0)


def best_image_type(accept: str) -> str:
    """Return the type of a rendition for a client: of those that it likes best, the smallest file.

    It is JPEG for a client that accepts none of the three. RFC 9110 allows this instead of a 406.
    """
    qualities = _qualities(accept)
    of_jpeg = next((qualities[name] for name in _JPEG if name in qualities), 0)
    ranked = {name: qualities[name] for name in _NAMED_ONLY if qualities.get(name)}
    ranked["image/jpeg"] = of_jpeg
    return max(ranked, key=ranked.__getitem__)  # the first of those that it likes equally


def _qualities(accept: str) -> Mapping[str, float]:
    """Read the weights of media types: 1 if one has none, 0 if nobody can read it."""
    found: dict[str, float] = {}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weights = [text for text in parameters if text.startswith("q=")]
        read = _QUALITY.fullmatch(weights[0]) if weights else None
        quality = float(read[1]) if read else 0.0 if weights else 1.0
        found[media_type] = max(found.get(media_type, 0), quality)
    return found
