"""Weights that cannot be loaded: the message that the operator reads."""

import json
import shutil
from pathlib import Path

import pytest

from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import load_pipeline
from model_server.engines.protocol import EngineLoadError


@pytest.fixture
def broken(weights: Path, tmp_path: Path) -> Path:
    """Provide a copy of the weights that a test can break."""
    return shutil.copytree(weights, tmp_path / "broken")


def load_error(weights: Path | str) -> str:
    with pytest.raises(EngineLoadError) as caught:
        load_pipeline(str(weights), "fp32")
    message = str(caught.value)
    assert message.startswith(f"--weights {weights}: ")
    return message.partition(": ")[2]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert load_error(tmp_path / "nowhere") == "there is no such folder"


def test_a_folder_without_a_pipeline(tmp_path: Path) -> None:
    assert load_error(tmp_path) == "no model_index.json in it"


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")  # raised inside diffusers
def test_a_name_that_is_neither_a_folder_nor_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_error("nobody/nothing") == "no such folder, and not on the hub"


def test_a_pipeline_of_another_class(broken: Path) -> None:
    index = broken / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "FluxPipeline"}))
    assert load_error(broken) == "a FluxPipeline, not a StableDiffusion3Pipeline"


def test_a_missing_part(broken: Path) -> None:
    shutil.rmtree(broken / "vae")
    assert "config.json" in load_error(broken)


def test_truncated_weights(broken: Path) -> None:
    [file] = (broken / "transformer").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    assert load_error(broken)


def test_pickled_weights_are_not_loaded(broken: Path) -> None:
    [file] = (broken / "transformer").glob("*.safetensors")
    file.rename(file.with_name("diffusion_pytorch_model.bin"))
    assert "safetensors" in load_error(broken)


def test_weights_of_another_shape(broken: Path) -> None:
    config = broken / "transformer/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"attention_head_dim": 4}))
    assert load_error(broken)


def test_offloading_without_a_gpu_is_an_error_before_weights_are_loaded() -> None:
    engine = DiffusersEngine(lambda: pytest.fail("loaded"), offload="model")
    with pytest.raises(EngineLoadError, match="there is no GPU"):
        engine.load()
