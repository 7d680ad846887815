"""GET /metrics: requests, images, and the queue in front of the engine."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.fakes.pausable_engine import PausableEngine
from tests.support.servers.model_server import TIMEOUT_S, ModelServerClient, run_model_server


def in_server(client: ModelServerClient) -> tuple[float, float]:
    """Count the waiting and the running requests."""
    metrics = client.metrics()
    return metrics["model_server_requests_waiting"], metrics["model_server_requests_running"]


def test_the_requests_that_run_and_wait_are_shown_up_to_the_limit(engine: PausableEngine) -> None:
    engine.resume()
    with (
        run_model_server(engine="pausable", max_concurrent=3) as client,
        ThreadPoolExecutor(3) as threads,
    ):
        engine.pause()
        requests = [threads.submit(client.generate, prompt="a fox") for _ in range(3)]
        deadline = time.monotonic() + TIMEOUT_S
        while in_server(client) != (2, 1):
            assert time.monotonic() < deadline
        assert client.generate(prompt="a fox").status_code == 429
        engine.resume()
        assert [each.result().status_code for each in requests] == [200] * 3
        metrics = client.metrics()
    assert metrics["model_server_requests_waiting"] == metrics["model_server_requests_running"] == 0
    assert metrics['model_server_requests_total{status="200"}'] == 3
    assert metrics['model_server_requests_total{status="429"}'] == 1


def test_requests_and_images_are_counted_and_no_prompt_is_shown() -> None:
    with run_model_server() as client:
        client.generate(prompt="show-me-not sketch-unsafe-1", steps=1, num_images=2)
        client.generate(prompt="show-me-not", steps="show-me-not")
        client.generate(prompt="show-me-not sketch-forbidden")
        ModelServerClient(client.url, {}).generate(prompt="show-me-not")
        metrics = client.metrics()
    assert "show-me-not" not in str(metrics)
    requests = {n: v for n, v in metrics.items() if n.startswith("model_server_requests_total")}
    assert requests == {
        f'model_server_requests_total{{status="{status}"}}': 1 for status in (200, 422, 400, 401)
    }
    assert metrics['model_server_images_total{outcome="generated"}'] == 1
    assert metrics['model_server_images_total{outcome="removed_for_safety"}'] == 1
    assert metrics["model_server_image_duration_seconds_count"] == 2
    assert metrics["model_server_image_duration_seconds_sum"] > 0
    assert metrics["process_resident_memory_bytes"] > 0
