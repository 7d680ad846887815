"""The sketch engine: the same request draws the same picture, and every parameter shows."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from model_server.contract.schemas import SIZES, GenerateRequest
from model_server.engines.protocol import EngineClosedError
from model_server.engines.sketch.engine import SketchEngine, draw_picture
from model_server.engines.sketch.motif import FEATURES, MOOD_WORDS, read_motif
from tests.unit.model_server.serving import PATIENCE_S

INIT = Image.linear_gradient("L").convert("RGB").resize((1024, 1024))
PLAIN: dict[str, Any] = {"prompt": "a fox", "negative_prompt": "rain", "steps": 5}


def draw(init: Image.Image | None = None, *, seed: int = 7, **fields: Any) -> Image.Image:
    return draw_picture(GenerateRequest(**PLAIN | fields), seed, init)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, 0 to 255, above the caption."""
    box = (0, 0, one.width, round(one.height * 0.85))
    means = ImageStat.Stat(ImageChops.difference(one.crop(box), other.crop(box))).mean
    return sum(means) / len(means)


def test_the_same_request_draws_the_same_pixels() -> None:
    assert draw().tobytes() == draw().tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a fox "},
        {"prompt": "a fix"},
        {"negative_prompt": None},
        {"negative_prompt": "snow"},
        {"cfg_scale": 12.5},
        {"steps": 6},
        {"seed": 8},
        {"width": 1152, "height": 896},
        {"width": 896, "height": 1152},
    ],
)
def test_every_parameter_changes_the_picture(change: dict[str, Any]) -> None:
    changed = draw(**change)
    plain = draw()
    assert changed.size != plain.size or distance(changed, plain) > 0


def test_the_end_of_a_prompt_of_10000_characters_counts() -> None:
    assert distance(draw(prompt="x" * 9_999 + "a"), draw(prompt="x" * 9_999 + "b")) > 1


def test_the_end_of_a_negative_prompt_of_10000_characters_counts() -> None:
    one, other = (draw(negative_prompt="x" * 9_999 + end) for end in "ab")
    assert distance(one, other) > 0


@pytest.mark.parametrize("size", SIZES)
def test_each_of_the_nine_sizes_is_drawn(size: tuple[int, int]) -> None:
    picture = draw(width=size[0], height=size[1], steps=1)
    assert (picture.mode, picture.size) == ("RGB", size)


def test_a_picture_leaves_its_init_image_as_far_as_its_strength_says() -> None:
    far = [distance(draw(INIT, strength=strength), INIT) for strength in (0.02, 0.3, 0.6, 0.95)]
    assert far == sorted(far)
    assert far[0] < 3
    assert far[-1] > 10 * far[0]


def test_another_init_image_gives_another_picture() -> None:
    assert distance(draw(INIT, strength=0.9), draw(INIT.rotate(90), strength=0.9)) > 0


def test_strength_is_nothing_to_a_picture_without_an_init_image() -> None:
    assert draw(strength=0.2).tobytes() == draw(strength=0.9).tobytes()


def test_a_larger_cfg_scale_gives_stronger_colours() -> None:
    colours = [
        ImageStat.Stat(draw(cfg_scale=cfg_scale).convert("HSV")).mean[1]
        for cfg_scale in (0.5, 6, 12, 50)
    ]
    assert colours == sorted(colours)


@pytest.mark.parametrize("name", FEATURES)
def test_a_word_asks_for_a_feature_and_the_negative_prompt_takes_it_away(name: str) -> None:
    word = FEATURES[name][1].split()[0]
    assert name in read_motif(f"a {word}, please", "", 1).features
    assert name not in read_motif(f"a {word}, please", f"no {word}!", 1).features


@pytest.mark.parametrize("mood", MOOD_WORDS)
def test_everything_at_once_can_be_drawn_in_any_mood(mood: str) -> None:
    asked = " ".join(words.split()[0] for _, words in FEATURES.values())
    for seed in (1, 2):
        draw(prompt=f"{MOOD_WORDS[mood].split()[0]} {asked}", seed=seed, width=640, height=1536)


@pytest.mark.parametrize(
    "prompt", ["word " * 60, "w" * 300, "漢字 \N{FOX FACE} na\u00efve", "\0\n\t", " ", "\u200b"]
)
def test_any_prompt_fits_the_caption(prompt: str) -> None:
    draw(prompt=prompt, negative_prompt=prompt, width=640, height=1536, steps=1)


def test_a_closed_engine_draws_no_further_picture() -> None:
    engine = SketchEngine()
    request = GenerateRequest(**PLAIN, num_images=2)
    drawn = iter(engine.draw(request, seeds=[1, 2], init_image=None))
    next(drawn)
    engine.close()
    with pytest.raises(EngineClosedError):
        next(drawn)


def test_closing_an_engine_ends_its_wait_for_a_slow_model() -> None:
    engine = SketchEngine(delay_ms_per_step=60_000)
    drawn = engine.draw(GenerateRequest(**PLAIN), seeds=[1], init_image=None)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(next, drawn)
        engine.close()
        with pytest.raises(EngineClosedError):
            first.result(PATIENCE_S)
