"""The `sketch` engine: no model and no weights, a landscape that shows every parameter."""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

from PIL import Image, ImageEnhance
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest
from model_server.engines.protocol import Drawn, EngineClosedError
from model_server.engines.sketch.caption import Caption, write_caption
from model_server.engines.sketch.motif import read_motif
from model_server.engines.sketch.safety import is_forbidden, unsafe_pictures
from model_server.engines.sketch.scene import paint_scene

_UNSAFE_SCORE: Final = 0.98
_USUAL_CFG: Final = 12  # the contract's default: colours as they were mixed


class SketchEngine:
    """Draws without a model: the same request and seed always give the same pixels."""

    name = "sketch"
    notice = "sketch; no model"
    parallel = 2
    collectors: Sequence[Collector] = ()

    def __init__(self, *, delay_ms_per_step: float = 0) -> None:
        """`delay_ms_per_step` is waited for each picture and step, to act like a slow model."""
        self._delay_s = delay_ms_per_step / 1000
        self._closed = threading.Event()

    def load(self) -> None:
        """There is nothing to load."""

    def refuses(self, request: GenerateRequest) -> bool:
        """Whether the prompt holds the word that stands for a forbidden one."""
        return is_forbidden(request.prompt)

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> Iterator[Drawn]:
        """Draw one picture after the other; raises EngineClosedError between two of them."""
        unsafe = unsafe_pictures(request.prompt, len(seeds))
        for index, seed in enumerate(seeds):
            if self._closed.wait(self._delay_s * request.steps):
                raise EngineClosedError
            if index in unsafe:
                yield Drawn(None, _UNSAFE_SCORE)
            else:
                yield Drawn(draw_picture(request, seed, init_image))

    def close(self) -> None:
        """End every drawing before its next picture."""
        self._closed.set()


def draw_picture(
    request: GenerateRequest, seed: int, init_image: Image.Image | None
) -> Image.Image:
    """Draw one picture; `strength` is how far to leave `init_image`, which has its size."""
    motif = read_motif(request.prompt, request.negative_prompt or "", seed)
    picture = paint_scene(motif, (request.width, request.height), steps=request.steps)
    picture = _guide(picture, request.cfg_scale)
    if init_image is not None:
        picture = Image.blend(init_image, picture, request.strength)
    write_caption(picture, _caption(request, seed, of_image=init_image is not None), motif.palette)
    return picture


def _guide(picture: Image.Image, cfg_scale: float) -> Image.Image:
    """Pale for a small cfg_scale, as mixed for the usual one, garish for a large one."""
    vigour = 2 * cfg_scale / (cfg_scale + _USUAL_CFG)
    coloured = ImageEnhance.Color(picture).enhance(0.25 + 0.75 * vigour)
    contrast = 0.7 + 0.3 * vigour
    return coloured.point([round(128 + (level - 128) * contrast) for level in range(256)] * 3)


def _caption(request: GenerateRequest, seed: int, *, of_image: bool) -> Caption:
    details = [
        f"seed {seed}",
        f"steps {request.steps}",
        f"cfg {request.cfg_scale:g}",
        f"{request.width}x{request.height}",
    ]
    if of_image:
        details.append(f"strength {request.strength:g}")
    without = f"without: {request.negative_prompt}" if request.negative_prompt else ""
    return Caption(request.prompt, " / ".join([*details, "sketch, no model"]), without)
