"""Responses of OctoAI with small images."""

import base64
import json
from typing import Any

from tests.support.factories.images import png


def b64(data: bytes) -> str:
    """Encode as OctoAI does."""
    return base64.b64encode(data).decode()


def image(width: int = 64, **fields: Any) -> dict[str, Any]:
    """Make one image of a response: 64 pixels high, and of seed 7."""
    usual = {"image_b64": b64(png(width)), "removed_for_safety": False, "seed": 7}
    return usual | {"safety_score": None} | fields


def images(*all_images: object, **fields: Any) -> bytes:
    """Write the body of a 200."""
    return json.dumps({"images": all_images, "prediction_time_ms": 3451.7} | fields).encode()
