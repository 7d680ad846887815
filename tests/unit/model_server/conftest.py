"""A server with the sketch engine, and an engine that a test can pause."""

from collections.abc import Iterator

import pytest

from model_server.engines.registry import ENGINES
from tests.support.fakes.pausable_engine import PausableEngine
from tests.support.servers.model_server import ModelServerClient, run_model_server


@pytest.fixture(scope="session")
def client() -> Iterator[ModelServerClient]:
    """Provide a client of a server with default settings."""
    with run_model_server() as client:
        yield client


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> PausableEngine:
    """Provide the engine that a server with the setting engine="pausable" runs."""
    engine = PausableEngine()
    monkeypatch.setitem(ENGINES, "pausable", lambda _: engine)
    return engine
