"""The lifecycle of the server: the engine loads, fails to load, or is stopped."""

import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from model_server.engines.protocol import EngineLoadError
from model_server.engines.registry import ENGINES
from model_server.server.lifecycle import Server, build_url
from model_server.settings import Settings
from tests.support.fakes.pausable_engine import PausableEngine
from tests.support.servers.model_server import (
    TIMEOUT_S,
    TOKEN,
    ModelServerClient,
    run_in_thread,
    run_model_server,
)


@pytest.fixture
def loading(engine: PausableEngine) -> Iterator[tuple[ModelServerClient, queue.Queue[str]]]:
    """Run a server whose engine loads; yield its client and the queue with its URL."""
    ready: queue.Queue[str] = queue.Queue()
    server = Server(Settings(token=TOKEN, port=0, engine="pausable"), on_ready=ready.put)
    with run_in_thread(server):
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield ModelServerClient(f"http://127.0.0.1:{port}"), ready


def test_while_the_engine_loads_health_and_requests_are_a_503(
    engine: PausableEngine, loading: tuple[ModelServerClient, queue.Queue[str]]
) -> None:
    client, ready = loading
    assert client.health().status_code == 503
    assert client.health().json() == {"engine": "pausable", "ready": False}
    response = client.generate(prompt="a fox")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {"message": "The engine is not ready."}
    assert ready.empty()
    engine.resume()
    assert ready.get(timeout=TIMEOUT_S) == client.url
    assert client.health().status_code == 200


def test_a_server_that_is_stopped_while_its_engine_loads_was_never_ready(
    engine: PausableEngine,
) -> None:
    ready: queue.Queue[str] = queue.Queue()
    server = Server(Settings(token=TOKEN, port=0, engine="pausable"), on_ready=ready.put)
    with run_in_thread(server):
        while not server.started:
            time.sleep(0.01)
    assert ready.empty()
    assert not server.failed


def test_a_request_that_runs_when_the_server_is_stopped_is_a_503(engine: PausableEngine) -> None:
    engine.resume()
    with ThreadPoolExecutor(1) as thread:
        with run_model_server(engine="pausable") as client:
            engine.pause()
            request = thread.submit(client.generate, prompt="a fox")
            assert engine.generating.wait(TIMEOUT_S)
        response = request.result()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {"message": "The server is shutting down."}


@pytest.mark.parametrize(
    ("error", "with_traceback"),
    [(OSError("no weights"), True), (EngineLoadError("no weights"), False)],
)
def test_a_server_whose_engine_does_not_load_stops_and_logs_why(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    with_traceback: bool,
) -> None:
    broken = PausableEngine(load_error=error)
    monkeypatch.setitem(ENGINES, "broken", lambda _: broken)
    server = Server(Settings(token=TOKEN, port=0, engine="broken"), on_ready=pytest.fail)
    server.run()
    assert server.failed
    log = capfd.readouterr().err
    assert "the engine did not load: no weights" in log
    assert ("Traceback" in log) is with_traceback


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert build_url("::1", 80) == "http://[::1]:80"
