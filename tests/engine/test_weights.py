"""Weights that cannot be used: what the operator is told before anything is drawn."""

import json
import shutil
from pathlib import Path

import pytest

from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import open_pipeline
from model_server.engines.protocol import EngineLoadError


@pytest.fixture
def broken(weights: Path, tmp_path: Path) -> Path:
    """A copy of the weights, for a test to break."""
    return shutil.copytree(weights, tmp_path / "broken")


def fault_of(weights: Path | str) -> str:
    with pytest.raises(EngineLoadError) as caught:
        open_pipeline(str(weights), "fp32")
    message = str(caught.value)
    assert message.startswith(f"--weights {weights}: ")
    return message.partition(": ")[2]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "nowhere") == "there is no such folder"


def test_a_folder_without_a_pipeline(tmp_path: Path) -> None:
    assert fault_of(tmp_path) == "no model_index.json in it"


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")  # diffusers' own
def test_a_name_that_neither_a_folder_nor_the_hub_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fault_of("nobody/nothing") == "no such folder, and not on the hub"


def test_another_kind_of_pipeline(broken: Path) -> None:
    index = broken / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "FluxPipeline"}))
    assert fault_of(broken) == "a FluxPipeline, not a StableDiffusion3Pipeline"


def test_a_part_that_is_missing(broken: Path) -> None:
    shutil.rmtree(broken / "vae")
    assert "config.json" in fault_of(broken)


def test_weights_that_are_cut_off(broken: Path) -> None:
    [file] = (broken / "transformer").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    assert fault_of(broken)


def test_weights_as_pickles_are_not_read(broken: Path) -> None:
    [file] = (broken / "transformer").glob("*.safetensors")
    file.rename(file.with_name("diffusion_pytorch_model.bin"))
    assert "safetensors" in fault_of(broken)


def test_weights_of_another_shape(broken: Path) -> None:
    config = broken / "transformer/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"attention_head_dim": 4}))
    assert fault_of(broken)


def test_offloading_without_a_gpu_is_refused_before_anything_is_read() -> None:
    engine = DiffusersEngine(lambda: pytest.fail("read"), offload="model")
    with pytest.raises(EngineLoadError, match="there is no GPU"):
        engine.load()
