"""The `sketch` engine: a landscape in which every parameter of the request is visible."""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

from PIL import Image, ImageEnhance
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest
from model_server.engines.protocol import EngineClosedError, GeneratedImage
from model_server.engines.sketch.caption import Caption, write_caption
from model_server.engines.sketch.motif import choose_motif
from model_server.engines.sketch.safety import find_unsafe_images, is_forbidden
from model_server.engines.sketch.scene import paint_scene

_UNSAFE_SCORE: Final = 0.98
_DEFAULT_CFG_SCALE: Final = 12  # the contract's default, which leaves the colours unchanged


class SketchEngine:
    """Generates images without a model: the same request and seed always give the same pixels."""

    name = "sketch"
    description = "sketch; no model"
    digital_source_type = "algorithmicMedia"
    concurrency = 2
    collectors: Sequence[Collector] = ()

    def __init__(self, *, delay_ms_per_step: float = 0) -> None:
        """Set the wait per image and step, with which the engine imitates a slow model."""
        self._delay_s = delay_ms_per_step / 1000
        self._closed = threading.Event()

    def load(self) -> None:
        """Do nothing: there are no weights."""

    def rejects(self, request: GenerateRequest) -> bool:
        """Return whether the prompt holds the word that stands for a forbidden prompt."""
        return is_forbidden(request.prompt)

    def generate(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> Iterator[GeneratedImage]:
        """Generate the images one by one; raises EngineClosedError before the next one."""
        unsafe = find_unsafe_images(request.prompt, len(seeds))
        for index, seed in enumerate(seeds):
            if self._closed.wait(self._delay_s * request.steps):
                raise EngineClosedError
            if index in unsafe:
                yield GeneratedImage(None, _UNSAFE_SCORE)
            else:
                yield GeneratedImage(generate_image(request, seed, init_image))

    def close(self) -> None:
        """Stop every request before its next image."""
        self._closed.set()


def generate_image(
    request: GenerateRequest, seed: int, init_image: Image.Image | None
) -> Image.Image:
    """Generate one image; `strength` is how much of it covers `init_image`, which has its size."""
    motif = choose_motif(request.prompt, request.negative_prompt or "", seed)
    image = paint_scene(motif, (request.width, request.height), steps=request.steps)
    image = _apply_guidance(image, request.cfg_scale)
    if init_image is not None:
        image = Image.blend(init_image, image, request.strength)
    write_caption(image, _caption(request, seed, init_image), motif.palette)
    return image


def _apply_guidance(image: Image.Image, cfg_scale: float) -> Image.Image:
    """Strengthen the colours with `cfg_scale`: pale when it is small, garish when it is large."""
    vigour = 2 * cfg_scale / (cfg_scale + _DEFAULT_CFG_SCALE)
    coloured = ImageEnhance.Color(image).enhance(0.25 + 0.75 * vigour)
    contrast = 0.7 + 0.3 * vigour
    return coloured.point([round(128 + (level - 128) * contrast) for level in range(256)] * 3)


def _caption(request: GenerateRequest, seed: int, init_image: Image.Image | None) -> Caption:
    details = [
        f"seed {seed}",
        f"steps {request.steps}",
        f"cfg {request.cfg_scale:g}",
        f"{request.width}x{request.height}",
    ]
    if init_image is not None:
        details.append(f"strength {request.strength:g}")
    without = f"without: {request.negative_prompt}" if request.negative_prompt else ""
    return Caption(request.prompt, " / ".join([*details, "sketch, no model"]), without)
