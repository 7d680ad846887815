"""The routes: the engine's header, health, and the limits on requests."""

from concurrent.futures import ThreadPoolExecutor

from tests.support.fakes.pausable_engine import PausableEngine
from tests.support.servers.model_server import TIMEOUT_S, ModelServerClient, run_model_server


def test_every_response_names_the_engine_and_that_there_is_no_model(
    client: ModelServerClient,
) -> None:
    responses = [
        client.health(),
        client.post(b"{}"),
        ModelServerClient(client.url, {}).post(b"{}"),
        ModelServerClient(f"{client.url}/nowhere").post(b"{}"),
        client.generate(prompt="a fox", steps=1),
    ]
    assert [response.status_code for response in responses] == [200, 422, 401, 404, 200]
    assert {response.headers["X-Engine"] for response in responses} == {"sketch; no model"}
    assert {response.headers["X-Digital-Source-Type"] for response in responses} == {
        "algorithmicMedia"
    }


def test_health_needs_no_token_and_names_the_engine(client: ModelServerClient) -> None:
    assert client.health().json() == {"engine": "sketch", "ready": True}


def test_a_request_over_the_limit_is_a_429_with_retry_after(
    engine: PausableEngine,
) -> None:
    engine.resume()
    with (
        run_model_server(engine="pausable", max_concurrent=1) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        engine.pause()
        first = thread.submit(client.generate, prompt="a fox")
        assert engine.generating.wait(TIMEOUT_S)
        response = client.generate(prompt="a fox")
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
        assert response.json() == {"message": "Too many requests."}
        assert client.post(b"{}").status_code == 422
        engine.resume()
        assert first.result().status_code == 200
        assert client.generate(prompt="a fox").status_code == 200


def test_a_request_beyond_the_limit_per_minute_is_a_429() -> None:
    with run_model_server(requests_per_minute=2) as client:
        responses = [client.generate(prompt="a fox", steps=1) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert 1 <= int(responses[2].headers["Retry-After"]) <= 60
