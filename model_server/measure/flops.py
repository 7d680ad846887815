"""How much arithmetic a picture takes, counted on shapes alone: nothing is computed."""

from typing import Any, Final, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from model_server.measure.architecture import Architecture

_CLIP_TOKENS: Final = 77
_T5_TOKENS: Final = 256
_GUIDED: Final = 2  # guidance draws with the prompt and without it


class Work(NamedTuple):
    """FLOPs of a picture's parts: reading the prompts, one guided step, making the pixels."""

    reading: int
    step: int
    pixels: int

    def of_picture(self, steps: int) -> int:
        """Return the FLOPs of a picture drawn in so many steps."""
        return self.reading + steps * self.step + self.pixels


def count_work(architecture: Architecture, side: int) -> Work:
    """Count one picture of side x side pixels, text-to-image with guidance.

    Matrix products, convolutions and attention are counted, a multiplication and its addition
    as two; the prompts are counted for each picture, though a request's are read once.
    """
    with torch.device("meta"), torch.no_grad():
        return Work(
            _of_text(architecture), _of_step(architecture, side), _of_pixels(architecture, side)
        )


def _of_text(architecture: Architecture) -> int:
    clip, clip_2, t5 = architecture.make_text_encoders()
    clip_ids = torch.zeros(_GUIDED, _CLIP_TOKENS, dtype=torch.long)
    t5_ids = torch.zeros(_GUIDED, _T5_TOKENS, dtype=torch.long)
    return _count(clip, clip_ids) + _count(clip_2, clip_ids) + _count(t5, t5_ids)


def _of_step(architecture: Architecture, side: int) -> int:
    config = architecture.transformer
    return _count(
        architecture.make_transformer(),
        hidden_states=_latents(architecture, side, count=_GUIDED),
        encoder_hidden_states=torch.empty(
            _GUIDED, _CLIP_TOKENS + _T5_TOKENS, config["joint_attention_dim"]
        ),
        pooled_projections=torch.empty(_GUIDED, config["pooled_projection_dim"]),
        timestep=torch.zeros(_GUIDED),
    )


def _of_pixels(architecture: Architecture, side: int) -> int:
    return _count(architecture.make_vae().decoder, _latents(architecture, side, count=1))


def _latents(architecture: Architecture, side: int, *, count: int) -> torch.Tensor:
    pixels = 2 ** (len(architecture.vae["block_out_channels"]) - 1)
    channels = architecture.vae["latent_channels"]
    return torch.empty(count, channels, side // pixels, side // pixels)


def _count(model: Any, *args: torch.Tensor, **kwargs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(*args, **kwargs)
    return int(counter.get_total_flops())
