"""Errors as responses: what the client reads, and what neither it nor the log may show."""

from collections.abc import Callable
from typing import NoReturn

import pytest

from model_server.engines.protocol import EngineMemoryError
from tests.support.fakes.pausable_engine import PausableEngine
from tests.support.servers.model_server import ModelServerClient, run_model_server


def raising(error: Exception) -> Callable[..., NoReturn]:
    """Return a function that raises `error`."""

    def generate(*_: object, **__: object) -> NoReturn:
        raise error

    return generate


def test_every_wrong_field_is_reported_and_no_input_is_quoted(client: ModelServerClient) -> None:
    secret = "do-not-quote"
    response = client.generate(prompt=[secret], steps=secret, init_image=secret, seed=secret)
    assert [error["loc"][1] for error in response.json()["detail"]] == [
        "prompt", "steps", "seed", "init_image"
    ]  # fmt: skip
    assert secret not in response.text


def test_of_the_name_of_an_unknown_field_only_the_beginning_is_quoted(
    client: ModelServerClient,
) -> None:
    [error] = client.generate(prompt="x", **{"n" * 5000: 1}).json()["detail"]
    assert error["loc"] == ["body", "n" * 64]


def test_an_unexpected_error_of_the_engine_is_a_500_and_the_prompt_is_not_logged(
    engine: PausableEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.resume()
    monkeypatch.setattr(engine, "generate", raising(ZeroDivisionError()))
    with run_model_server(engine="pausable") as client:
        response = client.generate(prompt="not-to-be-logged")
    assert (response.status_code, response.headers["X-Engine"]) == (500, engine.description)
    assert "not-to-be-logged" not in response.text + capfd.readouterr().err


def test_an_image_that_does_not_fit_in_memory_is_a_precise_413(
    engine: PausableEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.resume()
    monkeypatch.setattr(engine, "generate", raising(EngineMemoryError("out of memory")))
    with run_model_server(engine="pausable") as client:
        response = client.generate(prompt="a fox")
        metrics = client.metrics()
    assert response.status_code == 413
    assert response.json() == {"message": "An image of this size does not fit in memory."}
    assert "out of memory" in capfd.readouterr().err
    assert metrics["model_server_requests_running"] == 0
