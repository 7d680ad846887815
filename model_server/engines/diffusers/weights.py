"""The weights: loaded from a folder or the hub, and placed on a device."""

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
LOAD_ERRORS: Final = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
"""What the libraries raise for files that are missing, damaged or of another model."""
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")


def silence_libraries() -> None:
    """Have the libraries log errors only: their warnings quote the end of a long prompt."""
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()


def load_pipeline(weights: str, dtype: str) -> StableDiffusion3Pipeline:
    """Load a pipeline from a folder in diffusers' layout with safetensors, or by its id on the hub.

    Raises EngineLoadError.
    """
    is_folder = Path(weights).is_dir()
    if not is_folder and not _HUB_ID.fullmatch(weights):
        raise EngineLoadError(f"--weights {weights}: there is no such folder")
    try:
        name = StableDiffusion3Pipeline.load_config(weights)["_class_name"]
    except LOAD_ERRORS as error:
        cause = "no model_index.json in it" if is_folder else "no such folder, and not on the hub"
        raise EngineLoadError(f"--weights {weights}: {cause}") from error
    if not name.startswith("StableDiffusion3"):
        raise EngineLoadError(f"--weights {weights}: a {name}, not a StableDiffusion3Pipeline")
    try:
        return StableDiffusion3Pipeline.from_pretrained(
            weights, dtype=DTYPES[dtype], use_safetensors=True, local_files_only=is_folder
        )
    except LOAD_ERRORS as error:
        raise EngineLoadError(f"--weights {weights}: {error}") from error


def find_device() -> str:
    """Return "cuda" when there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def place_pipelines(pipelines: Sequence[Any], *, device: str, offload: str) -> None:
    """Place pipelines that share their weights on `device`, or set up their offloading."""
    for pipeline in pipelines:
        pipeline.set_progress_bar_config(disable=True)
        if offload == "none":
            pipeline.to(device)
        elif offload == "model":  # after each run a pipeline installs its own hooks again
            pipeline.enable_model_cpu_offload(device=device)
    if offload == "sequential":  # these hooks belong to the weights, which the pipelines share
        pipelines[0].enable_sequential_cpu_offload(device=device)
    # The VAE decodes image by image: decoding a batch at once is the peak of the memory.
    pipelines[0].vae.enable_slicing()


def compile_blocks(pipeline: Any) -> None:
    """Have the transformer's blocks compiled when they first run.

    The blocks are alike, so the code that is compiled for the first one serves them all.
    """
    for block in pipeline.transformer.transformer_blocks:
        block.compile()
