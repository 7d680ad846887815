"""The HTTP edge: token, body, faults, health and the bounds, each over a real connection."""

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from model_server.engines.protocol import EngineLoadError, EngineMemoryError
from model_server.engines.registry import ENGINES
from model_server.server.lifecycle import Server
from model_server.settings import Settings
from tests.unit.model_server.serving import (
    PATIENCE_S,
    TOKEN,
    Client,
    GatedEngine,
    in_thread,
    running,
)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> GatedEngine:
    gated = GatedEngine()
    monkeypatch.setitem(ENGINES, "gated", lambda _: gated)
    return gated


def raising(error: Exception) -> Callable[..., NoReturn]:
    def draw(*_: object, **__: object) -> NoReturn:
        raise error

    return draw


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 403),
        ({"Authorization": "Bearer caf\u00e9"}, 403),
    ],
)
def test_without_the_token_nothing_is_drawn(
    sketch: Client, headers: dict[str, str], status: int
) -> None:
    answer = Client(sketch.url, headers).generate(prompt="a fox", steps="not read")
    assert answer.status_code == status
    assert list(answer.json()) == ["message"]
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


def test_the_scheme_is_read_in_any_case(sketch: Client) -> None:
    client = Client(sketch.url, {"Authorization": f"bearer {TOKEN}"})
    assert client.send(b"{}").status_code == 422


@pytest.mark.parametrize(
    ("body", "where", "kind"),
    [
        (b"", ["body"], "json_invalid"),
        (b"{", ["body"], "json_invalid"),
        (b'{"prompt": "\xff"}', ["body"], "json_invalid"),
        (b'{"prompt": "\\ud800"}', ["body"], "json_invalid"),
        (b"[" * 100_000, ["body"], "json_invalid"),
        (b"[]", ["body"], "model_type"),
        (b"null", ["body"], "model_type"),
        (b"NaN", ["body"], "model_type"),
        (b'{"prompt": NaN}', ["body", "prompt"], "string_type"),
        (b'{"prompt": "x", "cfg_scale": NaN}', ["body", "cfg_scale"], "finite_number"),
        (b'{"prompt": "x", "strength": Infinity}', ["body", "strength"], "finite_number"),
        (b'{"prompt": "x", "seed": [-Infinity]}', ["body", "seed", "list", 0], "int_type"),
        (b'{"prompt": "x", "more": NaN}', ["body", "more"], "extra_forbidden"),
        (b'{"prompt": "x", "steps": 1e999}', ["body", "steps"], "int_type"),
        (b'{"prompt": "x", "width": 8}', ["body"], "size"),
    ],
)
def test_a_wrong_body_is_a_422_in_fastapis_shape(
    sketch: Client, body: bytes, where: list[str | int], kind: str
) -> None:
    answer = sketch.send(body)
    assert answer.status_code == 422
    [fault] = answer.json()["detail"]
    assert sorted(fault) == ["loc", "msg", "type"]
    assert (fault["loc"], fault["type"]) == (where, kind)


def test_every_fault_is_told_and_no_input_is_echoed(sketch: Client) -> None:
    secret = "do-not-echo"
    answer = sketch.generate(prompt=[secret], steps=secret, init_image=secret, seed=secret)
    assert [fault["loc"][1] for fault in answer.json()["detail"]] == [
        "prompt", "steps", "seed", "init_image"
    ]  # fmt: skip
    assert secret not in answer.text


def test_the_name_of_an_unknown_field_is_echoed_in_part_only(sketch: Client) -> None:
    [fault] = sketch.generate(prompt="x", **{"n" * 5000: 1}).json()["detail"]
    assert fault["loc"] == ["body", "n" * 64]


def test_a_body_over_the_bound_is_a_413_whether_or_not_its_length_is_said() -> None:
    fitting = b'{"prompt": "x", "steps": 0}'.ljust(1000)
    with running(max_body_bytes=1000) as client:
        assert client.send(fitting).status_code == 422
        assert client.send(fitting + b" ").status_code == 413
        assert client.send(iter([fitting, b" "])).status_code == 413
        assert client.send(b" " * 1_000_000).json()["message"].endswith("1000 bytes.")


def test_every_answer_says_that_there_is_no_model(sketch: Client) -> None:
    answers = [
        sketch.health(),
        sketch.send(b"{}"),
        Client(sketch.url, {}).send(b"{}"),
        Client(f"{sketch.url}/nowhere").send(b"{}"),
        sketch.generate(prompt="a fox", steps=1),
    ]
    assert [answer.status_code for answer in answers] == [200, 422, 401, 404, 200]
    assert {answer.headers["X-Engine"] for answer in answers} == {"sketch; no model"}


def test_health_is_open_and_names_the_engine(sketch: Client) -> None:
    assert sketch.health().json() == {"engine": "sketch", "ready": True}


def test_a_drawing_that_fails_is_a_500_with_the_engines_notice(
    engine: GatedEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.gate.set()
    monkeypatch.setattr(engine, "draw", lambda *_, **__: 1 / 0)
    with running(engine="gated") as client:
        answer = client.generate(prompt="not-to-be-logged")
    assert (answer.status_code, answer.headers["X-Engine"]) == (500, engine.notice)
    assert "not-to-be-logged" not in answer.text + capfd.readouterr().err


def test_a_request_beyond_the_bound_is_a_429_that_says_when_to_come_back(
    engine: GatedEngine,
) -> None:
    engine.gate.set()
    with running(engine="gated", max_concurrent=1) as client, ThreadPoolExecutor(1) as other:
        engine.gate.clear()
        first = other.submit(client.generate, prompt="a fox")
        assert engine.drawing.wait(PATIENCE_S)
        answer = client.generate(prompt="a fox")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert client.send(b"{}").status_code == 422
        engine.gate.set()
        assert first.result().status_code == 200
        assert client.generate(prompt="a fox").status_code == 200


def test_requests_wait_in_line_up_to_the_bound_and_can_be_seen_there(engine: GatedEngine) -> None:
    engine.gate.set()
    with running(engine="gated", max_concurrent=3) as client, ThreadPoolExecutor(3) as others:
        engine.gate.clear()
        inside = [others.submit(client.generate, prompt="a fox") for _ in range(3)]
        give_up = time.monotonic() + PATIENCE_S
        while client.metrics()["model_server_requests_waiting"] < 2:
            assert time.monotonic() < give_up
        assert client.metrics()["model_server_requests_drawing"] == 1
        answer = client.generate(prompt="a fox")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        engine.gate.set()
        assert [each.result().status_code for each in inside] == [200] * 3
        metrics = client.metrics()
    assert metrics["model_server_requests_waiting"] == metrics["model_server_requests_drawing"] == 0
    assert metrics['model_server_answers_total{status="200"}'] == 3
    assert metrics['model_server_answers_total{status="429"}'] == 1


def test_what_is_answered_and_drawn_is_counted_and_no_prompt_is_shown() -> None:
    with running() as client:
        client.generate(prompt="show-me-not sketch-unsafe-1", steps=1, num_images=2)
        client.generate(prompt="show-me-not", steps="show-me-not")
        client.generate(prompt="show-me-not sketch-forbidden")
        Client(client.url, {}).generate(prompt="show-me-not")
        metrics = client.metrics()
    assert "show-me-not" not in str(metrics)
    answers = {n: v for n, v in metrics.items() if n.startswith("model_server_answers_total")}
    assert answers == {
        f'model_server_answers_total{{status="{status}"}}': 1 for status in (200, 422, 400, 401)
    }
    assert metrics['model_server_pictures_total{outcome="drawn"}'] == 1
    assert metrics['model_server_pictures_total{outcome="removed_for_safety"}'] == 1
    assert metrics["model_server_picture_seconds_count"] == 2
    assert metrics["model_server_picture_seconds_sum"] > 0
    assert metrics["process_resident_memory_bytes"] > 0


def test_a_picture_that_does_not_fit_the_memory_is_a_500_that_says_so(
    engine: GatedEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.gate.set()
    monkeypatch.setattr(engine, "draw", raising(EngineMemoryError("out of memory")))
    with running(engine="gated") as client:
        answer = client.generate(prompt="a fox")
        metrics = client.metrics()
    assert answer.status_code == 500
    assert answer.json() == {"message": "A picture of that size does not fit the memory."}
    assert "out of memory" in capfd.readouterr().err
    assert metrics["model_server_requests_drawing"] == 0


def test_requests_beyond_the_minutes_are_a_429() -> None:
    with running(requests_per_minute=2) as client:
        answers = [client.generate(prompt="a fox", steps=1) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60


@pytest.fixture
def loading(engine: GatedEngine) -> Iterator[tuple[Client, queue.Queue[str]]]:
    """A server that listens while its engine still loads."""
    ready: queue.Queue[str] = queue.Queue()
    server = Server(Settings(token=TOKEN, port=0, engine="gated"), on_ready=ready.put)
    with in_thread(server):
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Client(f"http://127.0.0.1:{port}"), ready


def test_while_the_engine_loads_health_and_requests_are_a_503(
    engine: GatedEngine, loading: tuple[Client, queue.Queue[str]]
) -> None:
    client, ready = loading
    assert client.health().status_code == 503
    assert client.health().json() == {"engine": "gated", "ready": False}
    answer = client.generate(prompt="a fox")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert ready.empty()
    engine.gate.set()
    assert ready.get(timeout=PATIENCE_S) == client.url
    assert client.health().status_code == 200


def test_a_server_that_ends_while_its_engine_loads_was_never_ready(
    engine: GatedEngine,
) -> None:
    ready: queue.Queue[str] = queue.Queue()
    server = Server(Settings(token=TOKEN, port=0, engine="gated"), on_ready=ready.put)
    with in_thread(server):
        while not server.started:
            time.sleep(0.01)
    assert ready.empty()
    assert not server.failed


def test_what_is_being_drawn_when_the_server_ends_is_a_503(engine: GatedEngine) -> None:
    engine.gate.set()
    with ThreadPoolExecutor(1) as other:
        with running(engine="gated") as client:
            engine.gate.clear()
            engine.drawing.clear()
            answer = other.submit(client.generate, prompt="a fox")
            assert engine.drawing.wait(PATIENCE_S)
        assert answer.result().status_code == 503


@pytest.mark.parametrize(
    ("fault", "with_trace"), [(OSError("no weights"), True), (EngineLoadError("no weights"), False)]
)
def test_a_server_whose_engine_does_not_load_ends_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fault: Exception,
    with_trace: bool,
) -> None:
    broken = GatedEngine(load_fault=fault)
    monkeypatch.setitem(ENGINES, "broken", lambda _: broken)
    server = Server(Settings(token=TOKEN, port=0, engine="broken"), on_ready=pytest.fail)
    server.run()
    assert server.failed
    said = capfd.readouterr().err
    assert "the engine did not load: no weights" in said
    assert ("Traceback" in said) is with_trace
