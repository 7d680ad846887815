"""The batcher: batches that are halved until they fit in memory."""

from collections.abc import Callable, Sequence

import pytest
import torch
from PIL import Image

from model_server.engines.diffusers.batcher import Batcher
from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.protocol import EngineMemoryError, GeneratedImage
from tests.support.factories.diffusers_images import ROUNDING, difference, generate


class Gpu:
    """A GPU whose memory fits `room` images; the width of an image is its seed."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def generate(self, seeds: Sequence[int]) -> list[GeneratedImage]:
        self.sizes.append(len(seeds))
        if len(seeds) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [GeneratedImage(Image.new("RGB", (seed, 1))) for seed in seeds]


def widths(batcher: Batcher, gpu: Gpu, count: int) -> list[int]:
    generated = batcher.generate(range(1, count + 1), gpu.generate)
    return [each.image.width for each in generated if each.image]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    gpu, batcher = Gpu(3), Batcher(16)
    assert widths(batcher, gpu, 7) == [1, 2, 3, 4, 5, 6, 7]
    assert gpu.sizes == [7, 3, 3, 1]


def test_a_size_that_did_not_fit_is_not_tried_again() -> None:
    gpu, batcher = Gpu(4), Batcher(16)
    widths(batcher, gpu, 16)
    gpu.sizes.clear()
    assert widths(batcher, gpu, 16) == list(range(1, 17))
    assert gpu.sizes == [4, 4, 4, 4]


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    gpu = Gpu(0)
    with pytest.raises(EngineMemoryError):
        widths(Batcher(4), gpu, 4)
    assert gpu.sizes == [4, 2, 1]


def test_only_the_batches_that_fit_are_counted() -> None:
    batcher = Batcher(4)
    widths(batcher, Gpu(2), 5)
    [family] = batcher.sizes.collect()
    samples = {sample.name: sample.value for sample in family.samples if not sample.labels}
    batches, images = (samples[f"model_server_batch_size_{each}"] for each in ("count", "sum"))
    assert (batches, images) == (3, 5)


def test_a_model_that_runs_out_of_memory_gives_the_same_images_in_smaller_batches(
    make_engine: Callable[..., DiffusersEngine], engine: DiffusersEngine
) -> None:
    small = make_engine(max_batch=2)

    def need_memory(_: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        if len(kwargs["hidden_states"]) > 2:  # with guidance, two rows per image
            raise torch.OutOfMemoryError("CUDA out of memory")

    small._text_to_image.transformer.register_forward_pre_hook(need_memory, with_kwargs=True)
    assert difference(generate(small, 1, 2), generate(engine, 1, 2)) <= ROUNDING
    assert small.batcher.max_size == 1
