"""Placeholders: a blurred image in up to 25 bytes, shown until the image itself is there."""

from sd3.domain.image import Image, encode_base64, open_image

_SIDE = 32
"""The pixels of the longer side that are looked at. More take longer, and change a digit."""


def make_thumbhash(image: Image) -> str:
    """Return the ThumbHash of an image, in base64. Raises InvalidImageError.

    What is transparent counts as opaque: models generate nothing transparent, and the package
    fails for it.
    """
    # Few requests ask for it.
    from thumbhash import rgba_to_thumb_hash  # type: ignore[import-untyped]  # noqa: PLC0415

    with open_image(image) as opened:
        opened.draft("RGB", (_SIDE, _SIDE))  # a JPEG is decoded at an eighth of its size
        small = opened.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    pixels = list(small.convert("RGBA").tobytes())
    return encode_base64(bytes(rgba_to_thumb_hash(*small.size, pixels)))
