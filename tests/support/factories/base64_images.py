"""Images as base64, as the model server's contract carries them."""

import base64
import io
from typing import Any

from PIL import Image


def encode_base64(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """Return the base64 of `image` as a file of `kind`; `options` are Pillow's."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()
