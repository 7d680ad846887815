"""The `diffusers` engine: text-to-image and image-to-image with Stable Diffusion 3."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from diffusers import StableDiffusion3Img2ImgPipeline, StableDiffusion3Pipeline
from PIL import Image
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest
from model_server.engines.diffusers.batcher import Batcher
from model_server.engines.diffusers.memory import GpuMemoryCollector
from model_server.engines.diffusers.safety import SafetyChecker
from model_server.engines.diffusers.weights import (
    compile_blocks,
    find_device,
    place_pipelines,
    silence_libraries,
)
from model_server.engines.protocol import EngineClosedError, EngineLoadError, GeneratedImage

_MAX_T5_TOKENS: Final = 256  # the most that the model was trained with; CLIP reads 77
_EMBEDDINGS: Final = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


class DiffusersEngine:
    """Generates images with two pipelines that share one set of weights.

    The same request and seed give the same image on the same device, since each image has its own
    noise. In a batch of another size the device may use other kernels, which round differently.
    """

    name = "diffusers"
    description = "diffusers; Stable Diffusion 3"
    digital_source_type = "trainedAlgorithmicMedia"
    concurrency = 1  # a request needs the whole memory of the GPU; the others wait

    def __init__(
        self,
        load_weights: Callable[[], StableDiffusion3Pipeline],
        *,
        offload: str = "none",
        compiled: bool = False,
        max_batch: int = 1,
        safety_checker: str = "",
    ) -> None:
        """Prepare the engine; load() calls `load_weights`. Flags describe the other arguments."""
        self.batcher = Batcher(max_batch)
        self.collectors: Sequence[Collector] = (self.batcher.sizes, GpuMemoryCollector())
        self._load_weights = load_weights
        self._offload = offload
        self._compiled = compiled
        self._safety_checker = safety_checker
        self._closed = threading.Event()
        self._text_to_image: Any = None
        self._image_to_image: Any = None
        self._checker: SafetyChecker | None = None

    def load(self) -> None:
        """Load the weights; with torch.compile, also generate one image, since that compiles.

        Raises EngineLoadError.
        """
        silence_libraries()
        device = find_device()
        if self._offload != "none" and device == "cpu":
            raise EngineLoadError(f"--offload {self._offload}: there is no GPU to offload from")
        if self._safety_checker:
            self._checker = SafetyChecker.load(self._safety_checker, device)
        text_to_image = self._load_weights()
        image_to_image = StableDiffusion3Img2ImgPipeline(**text_to_image.components)
        place_pipelines((text_to_image, image_to_image), device=device, offload=self._offload)
        self._text_to_image, self._image_to_image = text_to_image, image_to_image
        if self._compiled:
            compile_blocks(text_to_image)
            list(self.generate(GenerateRequest(prompt="x", steps=1), seeds=[1], init_image=None))

    def rejects(self, request: GenerateRequest) -> bool:  # noqa: ARG002 - the Protocol's
        """Return False: the safety checker judges images, not prompts."""
        return False

    def generate(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> Iterator[GeneratedImage]:
        """Generate the images batch by batch; raises EngineClosedError, EngineMemoryError."""
        embeddings = self._encode_prompts(request)

        def generate_batch(batch: Sequence[int]) -> list[GeneratedImage]:
            return self._check_safety(self._run_pipeline(request, embeddings, batch, init_image))

        yield from self.batcher.generate(seeds, generate_batch)

    def close(self) -> None:
        """Stop every request at its next step."""
        self._closed.set()

    def _encode_prompts(self, request: GenerateRequest) -> dict[str, Any]:
        """Return the embeddings of the prompts for one image, as arguments of the pipelines."""
        self._raise_if_closed()
        with torch.no_grad():
            embeddings = self._text_to_image.encode_prompt(
                prompt=request.prompt,
                prompt_2=None,
                prompt_3=None,
                negative_prompt=request.negative_prompt,
                do_classifier_free_guidance=request.cfg_scale > 1,
                max_sequence_length=_MAX_T5_TOKENS,
            )
        # Without guidance, those of the negative prompt are None.
        named = zip(_EMBEDDINGS, embeddings, strict=True)
        return {name: each for name, each in named if each is not None}

    def _run_pipeline(
        self,
        request: GenerateRequest,
        embeddings: dict[str, Any],
        seeds: Sequence[int],
        init_image: Image.Image | None,
    ) -> list[Image.Image]:
        count = len(seeds)
        arguments = {
            **{name: each.repeat_interleave(count, dim=0) for name, each in embeddings.items()},
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            "guidance_scale": request.cfg_scale,
            # The CPU generates the noise: there a seed gives the same noise whatever the GPU.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "callback_on_step_end": self._on_step_end,
        }
        if init_image is None:
            return list(self._text_to_image(**arguments).images)
        # A very small strength could be rounded to no step at all; one step is the least.
        strength = max(request.strength, 1 / request.steps)
        output = self._image_to_image(image=[init_image] * count, strength=strength, **arguments)
        return list(output.images)

    def _check_safety(self, images: list[Image.Image]) -> list[GeneratedImage]:
        if self._checker is None:
            return [GeneratedImage(image) for image in images]
        return self._checker.check(images)

    def _on_step_end(self, *_: object) -> dict[str, object]:
        self._raise_if_closed()
        return {}

    def _raise_if_closed(self) -> None:
        if self._closed.is_set():
            raise EngineClosedError
