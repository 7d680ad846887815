"""The safety checker, which removes images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil

from model_server.contract.schemas import GenerateRequest
from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.safety import SafetyChecker
from model_server.engines.protocol import EngineLoadError

VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "image_size": 32}
CONFIG = {"projection_dim": 8, "vision_config": {**VISION, "num_attention_heads": 2}}
RED, BLUE = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))


@pytest.fixture
def save_checker(tmp_path: Path) -> Callable[[float], str]:
    """Provide a function that saves a random checker, which removes images above `threshold`."""

    def save(threshold: float) -> str:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            checker: Any = StableDiffusionSafetyChecker(CLIPConfig(**CONFIG))
            torch.nn.init.normal_(checker.concept_embeds)
        torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
        checker.save_pretrained(tmp_path)
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def test_only_the_image_that_is_close_to_a_concept_is_removed(
    save_checker: Callable[[float], str],
) -> None:
    checked = SafetyChecker.load(save_checker(-1.0), "cpu").check([RED, BLUE])
    assert [each.image for each in checked] == [None, None]
    scores = [each.safety_score or 0 for each in checked]
    assert all(-1 <= score <= 1 for score in scores)
    assert abs(scores[0] - scores[1]) > 0.002  # the checker rounds to thousandths
    between = SafetyChecker.load(save_checker(sum(scores) / 2), "cpu")
    closer, farther = (RED, BLUE) if scores[0] > scores[1] else (BLUE, RED)
    stored, removed = between.check([farther, closer])
    assert (stored.image, stored.safety_score) == (farther, None)
    assert removed.image is None
    assert removed.safety_score == pytest.approx(max(scores))


@pytest.mark.parametrize(("threshold", "removed"), [(-1.0, True), (1.0, False)])
def test_the_engine_uses_the_checker_of_its_settings(
    make_engine: Callable[..., DiffusersEngine],
    save_checker: Callable[[float], str],
    threshold: float,
    removed: bool,
) -> None:
    engine = make_engine(safety_checker=save_checker(threshold))
    request = GenerateRequest(prompt="a fox", steps=1)
    [generated] = engine.generate(request, seeds=[7], init_image=None)
    assert (generated.image is None) is removed


def test_a_checker_that_does_not_exist_is_an_error_that_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match="--safety-checker"):
        SafetyChecker.load(str(tmp_path / "nowhere"), "cpu")
