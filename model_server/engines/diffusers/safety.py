"""The safety checker that Stable Diffusion has: pictures near a concept on its list go."""

from typing import Any, Final, Self

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import (
    StableDiffusionSafetyChecker,
    cosine_distance,
)
from PIL import Image
from transformers import CLIPImageProcessorPil

from model_server.engines.diffusers.weights import FAULTS
from model_server.engines.protocol import Drawn, EngineLoadError


class SafetyChecker:
    """Judges pictures on the device that draws."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    @classmethod
    def open(cls, folder: str, device: str) -> Self:
        """Read a StableDiffusionSafetyChecker and its image processor; raises EngineLoadError."""
        try:
            model = StableDiffusionSafetyChecker.from_pretrained(folder, local_files_only=True)
            processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except FAULTS as error:
            raise EngineLoadError(f"--safety-checker {folder}: {error}") from error
        return cls(model.to(device).eval(), processor)

    def judge(self, pictures: list[Image.Image]) -> list[Drawn]:
        """Keep a picture, or remove it with the cosine that it has to its nearest concept."""
        pixels = self._processor(pictures, return_tensors="pt").pixel_values
        pixels = pixels.to(self._model.device)
        _, unsafe = self._model(clip_input=pixels, images=[_NO_PIXELS] * len(pictures))
        return [
            Drawn(None, self._nearness(pixels[index : index + 1])) if bad else Drawn(picture)
            for index, (picture, bad) in enumerate(zip(pictures, unsafe, strict=True))
        ]

    def _nearness(self, pixels: torch.Tensor) -> float:
        with torch.no_grad():
            seen = self._model.visual_projection(self._model.vision_model(pixels)[1])
            return float(cosine_distance(seen, self._model.concept_embeds).max())


_NO_PIXELS: Final = torch.empty(0)  # the model blackens what it is given here; ours are removed
