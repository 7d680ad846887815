"""The architectures of Stable Diffusion 3, and a tiny one for a CPU, all with random weights.

Speed and memory depend on the shapes of the weights, not on their values. The numbers are those
of the configurations that stabilityai published with stable-diffusion-3-medium-diffusers and
stable-diffusion-3.5-large.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

_CLIP_SPECIAL_TOKENS: Final = ("<|startoftext|>", "<|endoftext|>")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The configuration of each part: the arguments of its class."""

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    clip: Mapping[str, Any]
    clip_2: Mapping[str, Any]
    t5: Mapping[str, Any]

    def make_transformer(self) -> Any:
        """Return the transformer, on the default device and in the default dtype."""
        return SD3Transformer2DModel(**self.transformer).eval()

    def make_vae(self) -> Any:
        """Return the VAE, which decodes latents into pixels."""
        return AutoencoderKL(**self.vae).eval()

    def make_text_encoders(self) -> tuple[Any, Any, Any]:
        """Return the three text encoders, which encode the prompt."""
        clips = [
            CLIPTextModelWithProjection(CLIPTextConfig(**config)).eval()
            for config in (self.clip, self.clip_2)
        ]
        return clips[0], clips[1], T5EncoderModel(T5Config(**self.t5)).eval()


_SD3_VAE: Final = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_SD3_TRANSFORMER: Final = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
_CLIP: Final = {"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 2}

SD3_MEDIUM: Final = Architecture(
    transformer=_SD3_TRANSFORMER,
    vae=_SD3_VAE,
    clip={
        **_CLIP,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
    clip_2={
        **_CLIP,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
        "hidden_act": "gelu",
    },
    t5={
        "vocab_size": 32128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    },
)
SD35_LARGE: Final = replace(
    SD3_MEDIUM,
    transformer={
        **_SD3_TRANSFORMER,
        "num_layers": 38,
        "num_attention_heads": 38,
        "caption_projection_dim": 2432,
        "qk_norm": "rms_norm",
    },
)
_TINY_CLIP: Final = {
    **_CLIP,
    "vocab_size": 514,
    "bos_token_id": 512,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
TINY: Final = Architecture(
    transformer={
        **_SD3_TRANSFORMER,
        "patch_size": 1,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "caption_projection_dim": 16,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
    },
    vae={
        **_SD3_VAE,
        "block_out_channels": (4,) * 6,
        "down_block_types": ("DownEncoderBlock2D",) * 6,
        "up_block_types": ("UpDecoderBlock2D",) * 6,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 2,
    },
    clip=_TINY_CLIP,
    clip_2=_TINY_CLIP,
    t5={"vocab_size": 260, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
)
"""The real classes and image sizes, with a few thousand weights and 32 pixels per token."""
ARCHITECTURES: Final = {"sd3-medium": SD3_MEDIUM, "sd3.5-large": SD35_LARGE, "tiny": TINY}


def build_pipeline(
    architecture: Architecture, *, device: str, dtype: torch.dtype, seed: int = 0
) -> StableDiffusion3Pipeline:
    """Build a pipeline on `device`; the same seed gives the same weights on the same device."""
    with _defaults(device, dtype), torch.random.fork_rng():
        torch.manual_seed(seed)
        clip, clip_2, t5 = architecture.make_text_encoders()
        transformer, vae = architecture.make_transformer(), architecture.make_vae()
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=clip,
        tokenizer=_clip_tokenizer(),
        text_encoder_2=clip_2,
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=t5,
        tokenizer_3=_t5_tokenizer(),
    )


@contextmanager
def _defaults(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Create weights on `device` and in `dtype`: some GPUs cannot hold them in float32 first."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _clip_tokenizer() -> Any:
    """Return a tokenizer with one token per byte.

    Which tokens a prompt becomes does not change the speed: their number is padded to a fixed one.
    """
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *_CLIP_SPECIAL_TOKENS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _t5_tokenizer() -> Any:
    letters = [(letter, -1.0) for letter in sorted(ByteLevel.alphabet())]
    special = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    return T5Tokenizer(vocab=[*special, ("\u2581", -2.0), *letters], extra_ids=0)
