"""A folder with a tiny pipeline of the real classes, and engines that have loaded it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from model_server.engines.diffusers.engine import DiffusersEngine
from model_server.engines.diffusers.weights import load_pipeline, silence_libraries
from model_server.measure.architecture import TINY, build_pipeline


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Use one thread: a model this small is slower on several."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a folder in the layout of a published pipeline."""
    silence_libraries()
    folder = tmp_path_factory.mktemp("weights")
    build_pipeline(TINY, device="cpu", dtype=torch.float32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_engine(weights: Path) -> Callable[..., DiffusersEngine]:
    """Provide a function that loads the folder into a new engine."""

    def make(dtype: str = "fp32", **options: Any) -> DiffusersEngine:
        engine = DiffusersEngine(partial(load_pipeline, str(weights), dtype), **options)
        engine.load()
        return engine

    return make


@pytest.fixture(scope="session")
def engine(make_engine: Callable[..., DiffusersEngine]) -> Iterator[DiffusersEngine]:
    """Provide a loaded engine, for the tests that do not change it."""
    engine = make_engine(max_batch=4)
    yield engine
    engine.close()
