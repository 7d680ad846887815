"""Stable Diffusion's safety checker, which finds images that are close to a list of concepts."""

from typing import Any, Final, Self

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import (
    StableDiffusionSafetyChecker,
    cosine_distance,
)
from PIL import Image
from transformers import CLIPImageProcessorPil

from model_server.engines.diffusers.weights import LOAD_ERRORS
from model_server.engines.protocol import EngineLoadError, GeneratedImage

_NO_PIXELS: Final = torch.empty(0)
"""The model blackens the images that it is given, which are not needed: unsafe ones are removed."""


class SafetyChecker:
    """Checks images on the device that generates them."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    @classmethod
    def load(cls, folder: str, device: str) -> Self:
        """Load a StableDiffusionSafetyChecker and its image processor; raises EngineLoadError."""
        try:
            model = StableDiffusionSafetyChecker.from_pretrained(folder, local_files_only=True)
            processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except LOAD_ERRORS as error:
            raise EngineLoadError(f"--safety-checker {folder}: {error}") from error
        return cls(model.to(device).eval(), processor)

    def check(self, images: list[Image.Image]) -> list[GeneratedImage]:
        """Remove each unsafe image; its score is the cosine between it and the closest concept."""
        pixels = self._processor(images, return_tensors="pt").pixel_values
        pixels = pixels.to(self._model.device)
        _, unsafe = self._model(clip_input=pixels, images=[_NO_PIXELS] * len(images))
        return [
            GeneratedImage(None, self._closest_concept(pixels[index : index + 1]))
            if is_unsafe
            else GeneratedImage(image)
            for index, (image, is_unsafe) in enumerate(zip(images, unsafe, strict=True))
        ]

    def _closest_concept(self, pixels: torch.Tensor) -> float:
        """Return the cosine between the image and the concept that is closest to it."""
        with torch.no_grad():
            embedding = self._model.visual_projection(self._model.vision_model(pixels)[1])
            return float(cosine_distance(embedding, self._model.concept_embeds).max())
