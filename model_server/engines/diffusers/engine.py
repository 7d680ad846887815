"""The `diffusers` engine: Stable Diffusion 3 with real weights, in PyTorch, best on a GPU."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Self

import torch
from diffusers import StableDiffusion3Img2ImgPipeline, StableDiffusion3Pipeline
from PIL import Image
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest
from model_server.engines.diffusers.batcher import Batches
from model_server.engines.diffusers.memory import GpuMemory
from model_server.engines.diffusers.safety import SafetyChecker
from model_server.engines.diffusers.weights import (
    compile_blocks,
    find_device,
    open_pipeline,
    place,
    silence,
)
from model_server.engines.protocol import Drawn, EngineClosedError, EngineLoadError
from model_server.settings import Settings

_T5_TOKENS: Final = 256  # what the model was trained to read at most; CLIP reads 77
_EMBEDDINGS: Final = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


class DiffusersEngine:
    """Draws text-to-image and image-to-image from one set of weights.

    The same request and seed give the same picture on the same device, in whatever batch; in
    bf16 and fp16 batches of another size can differ in the last bits of a colour.
    """

    name = "diffusers"
    notice = "diffusers; Stable Diffusion 3"
    parallel = 1  # one drawing has the GPU's memory for itself; the others wait in line

    def __init__(
        self,
        open_weights: Callable[[], StableDiffusion3Pipeline],
        *,
        offload: str = "none",
        compiled: bool = False,
        max_batch: int = 1,
        safety_checker: str = "",
    ) -> None:
        """`open_weights` is called once, by load(); for the others see settings.py."""
        self.batches = Batches(max_batch)
        self.collectors: Sequence[Collector] = (self.batches.sizes, GpuMemory())
        self._open_weights = open_weights
        self._offload = offload
        self._compiled = compiled
        self._safety_checker = safety_checker
        self._closed = threading.Event()
        self._of_text: Any = None
        self._of_image: Any = None
        self._checker: SafetyChecker | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make the engine that the flags ask for; nothing is read yet."""
        return cls(
            partial(open_pipeline, settings.weights, settings.dtype),
            offload=settings.offload,
            compiled=settings.compile,
            max_batch=settings.max_batch,
            safety_checker=settings.safety_checker,
        )

    def load(self) -> None:
        """Bring the weights in; compiled, draw a first picture too, which is what compiles.

        Raises EngineLoadError.
        """
        silence()
        device = find_device()
        if self._offload != "none" and device == "cpu":
            raise EngineLoadError(f"--offload {self._offload}: there is no GPU to spare")
        if self._safety_checker:
            self._checker = SafetyChecker.open(self._safety_checker, device)
        pipeline = self._open_weights()
        twin = StableDiffusion3Img2ImgPipeline(**pipeline.components)
        place((pipeline, twin), device=device, offload=self._offload)
        self._of_text, self._of_image = pipeline, twin
        if self._compiled:
            compile_blocks(pipeline)
            list(self.draw(GenerateRequest(prompt="x", steps=1), seeds=[1], init_image=None))

    def refuses(self, request: GenerateRequest) -> bool:  # noqa: ARG002 - the Protocol's
        """No prompt is refused: the safety checker judges pictures."""
        return False

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> Iterator[Drawn]:
        """Draw batch after batch; raises EngineClosedError, EngineMemoryError."""
        words = self._read(request)

        def draw_batch(batch: Sequence[int]) -> list[Drawn]:
            return self._judge(self._draw(request, words, batch, init_image))

        yield from self.batches.draw(seeds, draw_batch)

    def close(self) -> None:
        """End every drawing at its next step."""
        self._closed.set()

    def _read(self, request: GenerateRequest) -> dict[str, Any]:
        """Return the prompts' embeddings, by the pipelines' names, for one picture."""
        self._stop_if_closed()
        with torch.no_grad():
            embeddings = self._of_text.encode_prompt(
                prompt=request.prompt,
                prompt_2=None,
                prompt_3=None,
                negative_prompt=request.negative_prompt,
                do_classifier_free_guidance=request.cfg_scale > 1,
                max_sequence_length=_T5_TOKENS,
            )
        # Without guidance there are none of the negative prompt.
        named = zip(_EMBEDDINGS, embeddings, strict=True)
        return {name: each for name, each in named if each is not None}

    def _draw(
        self,
        request: GenerateRequest,
        words: dict[str, Any],
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> list[Image.Image]:
        count = len(seeds)
        wanted = {
            **{name: each.repeat_interleave(count, dim=0) for name, each in words.items()},
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            "guidance_scale": request.cfg_scale,
            # Noise is made on the CPU, which makes the same of a seed whatever the GPU.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "callback_on_step_end": self._after_step,
        }
        if init_image is None:
            return list(self._of_text(**wanted).images)
        # At least one step: rounding could leave none of a very small strength.
        strength = max(request.strength, 1 / request.steps)
        return list(self._of_image(image=[init_image] * count, strength=strength, **wanted).images)

    def _judge(self, pictures: list[Image.Image]) -> list[Drawn]:
        if self._checker is None:
            return [Drawn(picture) for picture in pictures]
        return self._checker.judge(pictures)

    def _after_step(self, *_: object) -> dict[str, object]:
        self._stop_if_closed()
        return {}

    def _stop_if_closed(self) -> None:
        if self._closed.is_set():
            raise EngineClosedError
