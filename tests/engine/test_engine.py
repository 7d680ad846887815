"""The images of the diffusers engine; on a CPU in fp32 the batch changes their rounding at most."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from model_server.contract.schemas import MAX_SEED, SIZES
from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import place_pipelines
from model_server.engines.protocol import EngineClosedError
from tests.support.factories.diffusers_images import GREY, ROUNDING, difference, generate, pixels
from tests.support.servers.model_server import TIMEOUT_S

GRADIENT = Image.linear_gradient("L").convert("RGB").resize((1024, 1024))


@pytest.fixture(scope="module")
def plain(engine: DiffusersEngine) -> list[bytes]:
    """Return the pixels of the default request."""
    return pixels(generate(engine))


def test_the_same_seed_gives_the_same_image_and_another_seed_another(
    engine: DiffusersEngine, plain: list[bytes]
) -> None:
    assert pixels(generate(engine, 7)) == plain
    assert pixels(generate(engine, MAX_SEED)) != plain


@pytest.mark.parametrize(("init_image", "seeds"), [(None, (1, 2, 3, 4)), (GRADIENT, (1, 2))])
def test_a_batch_gives_what_each_of_its_seeds_gives_alone(
    engine: DiffusersEngine, init_image: Image.Image | None, seeds: tuple[int, ...]
) -> None:
    together = generate(engine, *seeds, init_image=init_image)
    alone = [generate(engine, seed, init_image=init_image)[0] for seed in seeds]
    assert difference(together, alone) <= ROUNDING
    for image, next_image in pairwise(together):
        assert difference([image], [next_image]) > 100 * ROUNDING


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_the_contract_is_generated(
    engine: DiffusersEngine, size: tuple[int, int]
) -> None:
    [image] = generate(engine, steps=1, width=size[0], height=size[1])
    assert (image.mode, image.size) == ("RGB", size)
    assert len(image.getcolors(2**20) or []) != 1


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a fix"},
        {"negative_prompt": "snow"},
        {"cfg_scale": 1},
        {"cfg_scale": 3},
        {"steps": 3},
        {"init_image": GREY},
        {"init_image": GRADIENT},
    ],
)
def test_every_parameter_changes_the_image(
    engine: DiffusersEngine, plain: list[bytes], change: dict[str, Any]
) -> None:
    assert pixels(generate(engine, **change)) != plain


def test_another_strength_gives_another_image(engine: DiffusersEngine) -> None:
    little, much = (
        generate(engine, init_image=GREY, steps=4, strength=each) for each in (0.25, 0.75)
    )
    assert pixels(little) != pixels(much)


def test_a_very_small_strength_runs_one_step(engine: DiffusersEngine) -> None:
    steps = 49  # in floating point, 49 x 1/49 is less than 1
    smallest, one_step = (
        generate(engine, init_image=GREY, steps=steps, strength=each) for each in (1e-17, 1 / steps)
    )
    assert pixels(smallest) == pixels(one_step)


def test_an_init_image_does_not_affect_the_next_request(
    engine: DiffusersEngine, plain: list[bytes]
) -> None:
    generate(engine, init_image=GRADIENT, strength=0.5)
    assert pixels(generate(engine)) == plain


def test_both_pipelines_share_one_set_of_weights(engine: DiffusersEngine) -> None:
    parts, others = engine._text_to_image.components, engine._image_to_image.components
    assert {"transformer", "vae", "text_encoder", "text_encoder_3"} <= set(parts)
    assert all(others[name] is part for name, part in parts.items())


def test_bf16_generates_an_image(make_engine: Callable[..., DiffusersEngine]) -> None:
    [image] = generate(make_engine("bf16"), steps=1)
    assert len(image.getcolors(2**20) or []) != 1


def test_offloaded_weights_give_the_same_images(
    make_engine: Callable[..., DiffusersEngine], engine: DiffusersEngine, plain: list[bytes]
) -> None:
    offloaded = make_engine()
    pipelines = (offloaded._text_to_image, offloaded._image_to_image)
    # From the CPU to the CPU: the same hooks without a GPU. `sequential` cannot do that.
    place_pipelines(pipelines, device="cpu", offload="model")
    assert pixels(generate(offloaded)) == plain
    image_to_image = generate(offloaded, init_image=GRADIENT)
    assert pixels(image_to_image) == pixels(generate(engine, init_image=GRADIENT))
    assert pixels(generate(offloaded)) == plain


def test_closing_stops_a_request_at_its_next_step(
    make_engine: Callable[..., DiffusersEngine],
) -> None:
    engine = make_engine()
    started, closed = threading.Event(), threading.Event()
    steps = []

    def wait_until_closed(*_: object) -> None:
        steps.append(1)
        started.set()
        assert closed.wait(TIMEOUT_S)

    engine._text_to_image.transformer.register_forward_hook(wait_until_closed)
    with ThreadPoolExecutor(1) as thread:
        request = thread.submit(generate, engine, steps=200)
        assert started.wait(TIMEOUT_S)
        engine.close()
        closed.set()
        with pytest.raises(EngineClosedError):
            request.result(TIMEOUT_S)
    assert len(steps) == 1
    with pytest.raises(EngineClosedError):
        generate(engine)
