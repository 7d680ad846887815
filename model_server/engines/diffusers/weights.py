"""Weights from a folder or the hub, onto the device that draws."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from diffusers import StableDiffusion3Pipeline
from safetensors import SafetensorError

from model_server.engines.protocol import EngineLoadError

DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
FAULTS: Final = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
"""What the libraries raise for files that are missing, damaged or of another model."""


def silence() -> None:
    """Have the libraries log errors only: their warnings quote the end of a long prompt."""
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()


def open_pipeline(weights: str, dtype: str) -> StableDiffusion3Pipeline:
    """Read a pipeline in diffusers' layout, as safetensors, from a folder or else by its hub id.

    Raises EngineLoadError.
    """
    here = Path(weights).is_dir()
    if not here and not _HUB_ID.fullmatch(weights):
        raise EngineLoadError(f"--weights {weights}: there is no such folder")
    try:
        kind = StableDiffusion3Pipeline.load_config(weights)["_class_name"]
    except FAULTS as error:
        where = "no model_index.json in it" if here else "no such folder, and not on the hub"
        raise EngineLoadError(f"--weights {weights}: {where}") from error
    if not kind.startswith("StableDiffusion3"):
        raise EngineLoadError(f"--weights {weights}: a {kind}, not a StableDiffusion3Pipeline")
    try:
        return StableDiffusion3Pipeline.from_pretrained(
            weights, dtype=DTYPES[dtype], use_safetensors=True, local_files_only=here
        )
    except FAULTS as error:
        raise EngineLoadError(f"--weights {weights}: {error}") from error


def find_device() -> str:
    """Return where to draw: on the GPU, or on the CPU when there is none."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def place(pipelines: Sequence[Any], *, device: str, offload: str) -> None:
    """Put pipelines that share their weights where they draw."""
    for pipeline in pipelines:
        pipeline.set_progress_bar_config(disable=True)
        if offload == "none":
            pipeline.to(device)
        elif offload == "model":  # at its end a drawing hooks in its own pipeline anew
            pipeline.enable_model_cpu_offload(device=device)
    if offload == "sequential":  # these hooks belong to the weights and stay
        pipelines[0].enable_sequential_cpu_offload(device=device)
    pipelines[0].vae.enable_slicing()  # picture by picture: a batch at once needs the most memory


def compile_blocks(pipeline: Any) -> None:
    """Have the transformer's blocks compiled at their first use, which takes its time.

    The blocks are alike: what was compiled for the first one serves them all.
    """
    for block in pipeline.transformer.transformer_blocks:
        block.compile()
