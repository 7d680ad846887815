"""The sketch engine: a request always gives the same image, and every parameter is visible."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from model_server.contract.schemas import SIZES, GenerateRequest
from model_server.engines.protocol import EngineClosedError
from model_server.engines.sketch.engine import SketchEngine, generate_image
from model_server.engines.sketch.motif import FEATURES, TIMES_OF_DAY, choose_motif
from tests.support.servers.model_server import TIMEOUT_S

INIT_IMAGE = Image.linear_gradient("L").convert("RGB").resize((1024, 1024))
FIELDS: dict[str, Any] = {"prompt": "a fox", "negative_prompt": "rain", "steps": 5}


def generate(init_image: Image.Image | None = None, *, seed: int = 7, **fields: Any) -> Image.Image:
    return generate_image(GenerateRequest(**FIELDS | fields), seed, init_image)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two images, 0 to 255, above the caption."""
    box = (0, 0, one.width, round(one.height * 0.85))
    means = ImageStat.Stat(ImageChops.difference(one.crop(box), other.crop(box))).mean
    return sum(means) / len(means)


def test_the_same_request_gives_the_same_pixels() -> None:
    assert generate().tobytes() == generate().tobytes()


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
def test_every_parameter_changes_the_image(change: dict[str, Any]) -> None:
    changed = generate(**change)
    plain = generate()
    assert changed.size != plain.size or distance(changed, plain) > 0


def test_the_end_of_a_prompt_of_10000_characters_counts() -> None:
    assert distance(generate(prompt="x" * 9_999 + "a"), generate(prompt="x" * 9_999 + "b")) > 1


def test_the_end_of_a_negative_prompt_of_10000_characters_counts() -> None:
    one, other = (generate(negative_prompt="x" * 9_999 + end) for end in "ab")
    assert distance(one, other) > 0


@pytest.mark.parametrize("size", SIZES)
def test_each_of_the_nine_sizes_is_generated(size: tuple[int, int]) -> None:
    image = generate(width=size[0], height=size[1], steps=1)
    assert (image.mode, image.size) == ("RGB", size)


def test_an_image_differs_more_from_its_init_image_with_more_strength() -> None:
    distances = [
        distance(generate(INIT_IMAGE, strength=strength), INIT_IMAGE)
        for strength in (0.02, 0.3, 0.6, 0.95)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 3
    assert distances[-1] > 10 * distances[0]


def test_another_init_image_gives_another_image() -> None:
    one, other = (generate(each, strength=0.9) for each in (INIT_IMAGE, INIT_IMAGE.rotate(90)))
    assert distance(one, other) > 0


def test_strength_is_ignored_without_an_init_image() -> None:
    assert generate(strength=0.2).tobytes() == generate(strength=0.9).tobytes()


def test_a_larger_cfg_scale_gives_stronger_colours() -> None:
    colours = [
        ImageStat.Stat(generate(cfg_scale=cfg_scale).convert("HSV")).mean[1]
        for cfg_scale in (0.5, 6, 12, 50)
    ]
    assert colours == sorted(colours)


@pytest.mark.parametrize("name", FEATURES)
def test_a_word_adds_a_feature_and_the_negative_prompt_removes_it(name: str) -> None:
    word = FEATURES[name][1].split()[0]
    assert name in choose_motif(f"a {word}, please", "", 1).features
    assert name not in choose_motif(f"a {word}, please", f"no {word}!", 1).features


@pytest.mark.parametrize("time_of_day", TIMES_OF_DAY)
def test_all_features_together_can_be_painted_at_any_time_of_day(time_of_day: str) -> None:
    features = " ".join(words.split()[0] for _, words in FEATURES.values())
    prompt = f"{TIMES_OF_DAY[time_of_day].split()[0]} {features}"
    for seed in (1, 2):
        generate(prompt=prompt, seed=seed, width=640, height=1536)


@pytest.mark.parametrize(
    "prompt", ["word " * 60, "w" * 300, "漢字 \N{FOX FACE} na\u00efve", "\0\n\t", " ", "\u200b"]
)
def test_any_prompt_fits_the_caption(prompt: str) -> None:
    generate(prompt=prompt, negative_prompt=prompt, width=640, height=1536, steps=1)


def test_a_closed_engine_generates_no_further_image() -> None:
    engine = SketchEngine()
    request = GenerateRequest(**FIELDS, num_images=2)
    images = iter(engine.generate(request, seeds=[1, 2], init_image=None))
    next(images)
    engine.close()
    with pytest.raises(EngineClosedError):
        next(images)


def test_closing_the_engine_ends_its_delay() -> None:
    engine = SketchEngine(delay_ms_per_step=60_000)
    images = engine.generate(GenerateRequest(**FIELDS), seeds=[1], init_image=None)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(next, images)
        engine.close()
        with pytest.raises(EngineClosedError):
            first.result(TIMEOUT_S)
