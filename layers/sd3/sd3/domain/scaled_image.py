"""Generated images in a smaller size than the model has."""

from io import BytesIO

from sd3.domain.image import Image, open_image

_QUALITY = 90


def scaled(image: Image, size: tuple[int, int]) -> Image:
    """Scale an image down to `size` in its own format; what does not fit the shape is cut off.

    Raises InvalidImageError for an image that cannot be decoded.
    """
    from PIL import Image as PillowImage  # noqa: PLC0415 - few images are scaled

    if (image.width, image.height) == size:
        return image
    with open_image(image) as opened:
        opened.draft("RGB", size)  # a JPEG need not be decoded in full
        width, height = opened.size
        zoom = min(width / size[0], height / size[1])
        left, top = (width - zoom * size[0]) / 2, (height - zoom * size[1]) / 2
        box = (left, top, width - left, height - top)
        smaller = opened.resize(size, PillowImage.Resampling.LANCZOS, box=box)
    file = BytesIO()
    kind = image.content_type.removeprefix("image/").upper()
    smaller.save(file, kind, **({} if kind == "PNG" else {"quality": _QUALITY}))
    return Image(file.getvalue(), image.content_type, *size)
