"""The arithmetic of an image, counted on shapes alone: nothing is computed."""

from typing import Any, Final, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from model_server.measure.architecture import Architecture

_CLIP_TOKENS: Final = 77
_T5_TOKENS: Final = 256
_GUIDANCE_ROWS: Final = 2  # guidance runs the model with the prompt and without it


class ImageFlops(NamedTuple):
    """The FLOPs of the text encoders, of one step with guidance, and of the VAE's decoder."""

    text_encoding: int
    step: int
    decoding: int

    def total(self, steps: int) -> int:
        """Return the FLOPs of an image that is generated in `steps` steps."""
        return self.text_encoding + steps * self.step + self.decoding


def count_flops(architecture: Architecture, side: int) -> ImageFlops:
    """Count the FLOPs of one image of `side` x `side` pixels, text-to-image with guidance.

    Matrix products, convolutions and attention count; a multiplication and its addition are two
    FLOPs. The text encoders count for every image, although they run once per request.
    """
    with torch.device("meta"), torch.no_grad():
        return ImageFlops(
            text_encoding=_count_text_encoding(architecture),
            step=_count_step(architecture, side),
            decoding=_count_decoding(architecture, side),
        )


def _count_text_encoding(architecture: Architecture) -> int:
    clip, clip_2, t5 = architecture.make_text_encoders()
    clip_ids = torch.zeros(_GUIDANCE_ROWS, _CLIP_TOKENS, dtype=torch.long)
    t5_ids = torch.zeros(_GUIDANCE_ROWS, _T5_TOKENS, dtype=torch.long)
    return _count(clip, clip_ids) + _count(clip_2, clip_ids) + _count(t5, t5_ids)


def _count_step(architecture: Architecture, side: int) -> int:
    config = architecture.transformer
    return _count(
        architecture.make_transformer(),
        hidden_states=_latents(architecture, side, count=_GUIDANCE_ROWS),
        encoder_hidden_states=torch.empty(
            _GUIDANCE_ROWS, _CLIP_TOKENS + _T5_TOKENS, config["joint_attention_dim"]
        ),
        pooled_projections=torch.empty(_GUIDANCE_ROWS, config["pooled_projection_dim"]),
        timestep=torch.zeros(_GUIDANCE_ROWS),
    )


def _count_decoding(architecture: Architecture, side: int) -> int:
    return _count(architecture.make_vae().decoder, _latents(architecture, side, count=1))


def _latents(architecture: Architecture, side: int, *, count: int) -> torch.Tensor:
    downscaling = 2 ** (len(architecture.vae["block_out_channels"]) - 1)
    channels = architecture.vae["latent_channels"]
    return torch.empty(count, channels, side // downscaling, side // downscaling)


def _count(model: Any, *args: torch.Tensor, **kwargs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(*args, **kwargs)
    return int(counter.get_total_flops())
