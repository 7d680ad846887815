"""Batches that are split to fit the memory."""

from collections.abc import Callable, Sequence

import pytest
import torch
from PIL import Image

from model_server.engines.diffusers.batcher import Batches
from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.protocol import Drawn, EngineMemoryError
from tests.engine.drawing import draw, pixels


class Gpu:
    """Has room for so many pictures; a picture is its seed wide."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def draw(self, seeds: Sequence[int]) -> list[Drawn]:
        self.tried.append(len(seeds))
        if len(seeds) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [Drawn(Image.new("RGB", (seed, 1))) for seed in seeds]


def widths(batches: Batches, gpu: Gpu, count: int) -> list[int]:
    drawn = batches.draw(range(1, count + 1), gpu.draw)
    return [each.picture.width for each in drawn if each.picture]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    gpu, batches = Gpu(3), Batches(16)
    assert widths(batches, gpu, 7) == [1, 2, 3, 4, 5, 6, 7]
    assert gpu.tried == [7, 3, 3, 1]


def test_what_did_not_fit_once_is_not_tried_again() -> None:
    gpu, batches = Gpu(4), Batches(16)
    widths(batches, gpu, 16)
    gpu.tried.clear()
    assert widths(batches, gpu, 16) == list(range(1, 17))
    assert gpu.tried == [4, 4, 4, 4]


def test_a_single_picture_that_does_not_fit_is_an_error() -> None:
    gpu = Gpu(0)
    with pytest.raises(EngineMemoryError):
        widths(Batches(4), gpu, 4)
    assert gpu.tried == [4, 2, 1]


def test_only_what_was_drawn_is_counted() -> None:
    batches = Batches(4)
    widths(batches, Gpu(2), 5)
    [family] = batches.sizes.collect()
    found = {sample.name: sample.value for sample in family.samples if not sample.labels}
    assert (found["model_server_batch_size_sum"], found["model_server_batch_size_count"]) == (5, 3)


def test_the_model_itself_out_of_memory_draws_the_same_in_smaller_batches(
    make_engine: Callable[..., DiffusersEngine], engine: DiffusersEngine
) -> None:
    tight = make_engine(max_batch=2)

    def need_memory(_: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        if len(kwargs["hidden_states"]) > 2:  # two rows for each picture, with guidance
            raise torch.OutOfMemoryError("CUDA out of memory")

    tight._of_text.transformer.register_forward_pre_hook(need_memory, with_kwargs=True)
    assert pixels(draw(tight, 1, 2)) == pixels(draw(engine, 1, 2))
    assert tight.batches.largest == 1
