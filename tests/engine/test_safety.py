"""The safety checker: a setting that removes pictures."""

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

SEEN = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "image_size": 32}
CONFIG = {"projection_dim": 8, "vision_config": {**SEEN, "num_attention_heads": 2}}
RED, BLUE = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))


@pytest.fixture
def save_checker(tmp_path: Path) -> Callable[[float], str]:
    """Save the real class with random weights that removes what is nearer than `threshold`."""

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


def test_only_the_picture_that_is_near_a_concept_is_removed(
    save_checker: Callable[[float], str],
) -> None:
    drawn = SafetyChecker.open(save_checker(-1.0), "cpu").judge([RED, BLUE])
    assert [each.picture for each in drawn] == [None, None]
    scores = [each.safety_score or 0 for each in drawn]
    assert all(-1 <= score <= 1 for score in scores)
    assert abs(scores[0] - scores[1]) > 0.002  # the checker rounds to thousandths
    between = SafetyChecker.open(save_checker(sum(scores) / 2), "cpu")
    nearer, farther = (RED, BLUE) if scores[0] > scores[1] else (BLUE, RED)
    kept, removed = between.judge([farther, nearer])
    assert (kept.picture, kept.safety_score) == (farther, None)
    assert removed.picture is None
    assert removed.safety_score == pytest.approx(max(scores))


@pytest.mark.parametrize(("threshold", "removed"), [(-1.0, True), (1.0, False)])
def test_the_engine_asks_the_checker_that_is_set(
    make_engine: Callable[..., DiffusersEngine],
    save_checker: Callable[[float], str],
    threshold: float,
    removed: bool,
) -> None:
    engine = make_engine(safety_checker=save_checker(threshold))
    request = GenerateRequest(prompt="a fox", steps=1)
    [drawn] = engine.draw(request, seeds=[7], init_image=None)
    assert (drawn.picture is None) is removed


def test_a_checker_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match="--safety-checker"):
        SafetyChecker.open(str(tmp_path / "nowhere"), "cpu")
