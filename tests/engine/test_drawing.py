"""What the diffusers engine draws: on a CPU in fp32 the same pixels, whatever the batch."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from model_server.contract.schemas import MAX_SEED, SIZES
from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import place
from model_server.engines.protocol import EngineClosedError
from tests.engine.drawing import GREY, draw, pixels
from tests.unit.model_server.serving import PATIENCE_S

GRADIENT = Image.linear_gradient("L").convert("RGB").resize((1024, 1024))


@pytest.fixture(scope="module")
def plain(engine: DiffusersEngine) -> list[bytes]:
    """The one picture that is drawn when nothing else is asked for."""
    return pixels(draw(engine))


def test_the_same_seed_draws_the_same_picture_and_another_seed_another(
    engine: DiffusersEngine, plain: list[bytes]
) -> None:
    assert pixels(draw(engine, 7)) == plain
    assert pixels(draw(engine, MAX_SEED)) != plain


@pytest.mark.parametrize(("init", "seeds"), [(None, (1, 2, 3, 4)), (GRADIENT, (1, 2))])
def test_a_batch_draws_what_each_of_its_seeds_draws_alone(
    engine: DiffusersEngine, init: Image.Image | None, seeds: tuple[int, ...]
) -> None:
    together = pixels(draw(engine, *seeds, init=init))
    assert together == [pixels(draw(engine, seed, init=init))[0] for seed in seeds]
    assert len(set(together)) == len(seeds)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_the_contract_can_be_drawn(
    engine: DiffusersEngine, size: tuple[int, int]
) -> None:
    [picture] = draw(engine, steps=1, width=size[0], height=size[1])
    assert (picture.mode, picture.size) == ("RGB", size)
    assert len(picture.getcolors(2**20) or []) != 1


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a fix"},
        {"negative_prompt": "snow"},
        {"cfg_scale": 1},
        {"cfg_scale": 3},
        {"steps": 3},
        {"init": GREY},
        {"init": GRADIENT},
    ],
)
def test_what_is_asked_for_shows(
    engine: DiffusersEngine, plain: list[bytes], change: dict[str, Any]
) -> None:
    assert pixels(draw(engine, **change)) != plain


def test_strength_is_how_far_a_picture_leaves_its_init_image(engine: DiffusersEngine) -> None:
    little, much = (draw(engine, init=GREY, steps=4, strength=each) for each in (0.25, 0.75))
    assert pixels(little) != pixels(much)


def test_however_small_the_strength_one_step_is_drawn(engine: DiffusersEngine) -> None:
    steps = 49  # 49 x 1/49 is less than 1 to a computer
    least = draw(engine, init=GREY, steps=steps, strength=1e-17)
    assert pixels(least) == pixels(draw(engine, init=GREY, steps=steps, strength=1 / steps))


def test_an_init_image_leaves_nothing_behind_for_the_next_request(
    engine: DiffusersEngine, plain: list[bytes]
) -> None:
    draw(engine, init=GRADIENT, strength=0.5)
    assert pixels(draw(engine)) == plain


def test_both_pipelines_have_one_set_of_weights(engine: DiffusersEngine) -> None:
    parts, others = engine._of_text.components, engine._of_image.components
    assert {"transformer", "vae", "text_encoder", "text_encoder_3"} <= set(parts)
    assert all(others[name] is part for name, part in parts.items())


def test_bf16_draws_a_picture(make_engine: Callable[..., DiffusersEngine]) -> None:
    [picture] = draw(make_engine("bf16"), steps=1)
    assert len(picture.getcolors(2**20) or []) != 1


def test_weights_that_wait_elsewhere_draw_the_same(
    make_engine: Callable[..., DiffusersEngine], engine: DiffusersEngine, plain: list[bytes]
) -> None:
    offloaded = make_engine()
    # From the CPU to the CPU: all of the way but the hardware. `sequential` cannot do that.
    place((offloaded._of_text, offloaded._of_image), device="cpu", offload="model")
    assert pixels(draw(offloaded)) == plain
    assert pixels(draw(offloaded, init=GRADIENT)) == pixels(draw(engine, init=GRADIENT))
    assert pixels(draw(offloaded)) == plain


def test_closing_ends_a_drawing_at_its_next_step(
    make_engine: Callable[..., DiffusersEngine],
) -> None:
    engine = make_engine()
    begun, closed = threading.Event(), threading.Event()
    steps = []

    def hold(*_: object) -> None:
        steps.append(1)
        begun.set()
        assert closed.wait(PATIENCE_S)

    engine._of_text.transformer.register_forward_hook(hold)
    with ThreadPoolExecutor(1) as other:
        drawing = other.submit(draw, engine, steps=200)
        assert begun.wait(PATIENCE_S)
        engine.close()
        closed.set()
        with pytest.raises(EngineClosedError):
            drawing.result(PATIENCE_S)
    assert len(steps) == 1
    with pytest.raises(EngineClosedError):
        draw(engine)
