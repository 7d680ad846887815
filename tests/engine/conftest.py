"""A pipeline of the real classes with random weights, in a folder, and an engine that read it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import open_pipeline, silence
from model_server.measure.architecture import TINY, build


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Models as small as these lose more by sharing their work out than they gain."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of a published pipeline."""
    silence()
    folder = tmp_path_factory.mktemp("weights")
    build(TINY, device="cpu", dtype=torch.float32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_engine(weights: Path) -> Callable[..., DiffusersEngine]:
    """Read the folder into an engine of the test's own."""

    def make(dtype: str = "fp32", **options: Any) -> DiffusersEngine:
        engine = DiffusersEngine(partial(open_pipeline, str(weights), dtype), **options)
        engine.load()
        return engine

    return make


@pytest.fixture(scope="session")
def engine(make_engine: Callable[..., DiffusersEngine]) -> Iterator[DiffusersEngine]:
    """The one for tests that leave it as it is."""
    made = make_engine(max_batch=4)
    yield made
    made.close()
