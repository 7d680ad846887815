"""Tasks for upstreams."""

from collections.abc import Sequence
from typing import Any

from sd3.domain.generation import GenerationTask
from sd3.domain.image import Image
from sd3.domain.request import GenerateRequest


def make_task(
    *,
    deadline: float,
    seeds: Sequence[int] = (7,),
    init_image: Image | None = None,
    prompt: str = "a fox",
    **fields: Any,
) -> GenerationTask:
    """Make a task of one image for each seed; `fields` are the request's."""
    request = GenerateRequest(prompt=prompt, num_images=len(seeds), **fields)
    return GenerationTask(request, dict(enumerate(seeds)), init_image, deadline)
