"""How the tests ask an engine for pictures."""

from typing import Any

from PIL import Image

from model_server.contract.schemas import GenerateRequest
from model_server.engines.diffusers.engine import DiffusersEngine

GREY = Image.new("RGB", (1024, 1024), "grey")
PLAIN: dict[str, Any] = {"prompt": "a fox", "steps": 2}


def draw(
    engine: DiffusersEngine, *seeds: int, init: Image.Image | None = None, **fields: Any
) -> list[Image.Image]:
    """Draw PLAIN, with these changes, for each seed."""
    request = GenerateRequest(**PLAIN | fields)
    drawn = engine.draw(request, seeds=seeds or (7,), init_image=init)
    pictures = [each.picture for each in drawn]
    assert None not in pictures
    return [picture for picture in pictures if picture]


def pixels(pictures: list[Image.Image]) -> list[bytes]:
    """Return what two drawings have to share to be the same."""
    return [picture.tobytes() for picture in pictures]
