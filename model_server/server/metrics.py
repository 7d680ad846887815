"""The metrics of GET /metrics: requests, images and their duration."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_server.contract.schemas import GenerateResponse

GENERATE_PATH: Final = "/generate/sd3"
_DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
"""From a sketch up to a large model that is offloaded layer by layer."""


class Metrics:
    """Numbers only: no label holds any part of a request."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, engine_collectors: Iterable[Collector]) -> None:
        """Register the server's metrics, the process's, and those of `engine_collectors`."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "model_server_requests",
            "Generate requests, by the HTTP status of the response",
            ["status"],
            registry=registry,
        )
        self.waiting = Gauge(
            "model_server_requests_waiting",
            "Generate requests that wait for the engine",
            registry=registry,
        )
        self.running = Gauge(
            "model_server_requests_running",
            "Generate requests that the engine runs",
            registry=registry,
        )
        self._images = Counter(
            "model_server_images", "Images, by outcome", ["outcome"], registry=registry
        )
        self._durations = Histogram(
            "model_server_image_duration_seconds",
            "Seconds to generate and encode an image: a request's time divided by its images",
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        for collector in engine_collectors:
            registry.register(collector)

    def count_images(self, response: GenerateResponse) -> None:
        """Count the images of `response`, and observe the duration of each."""
        duration_s = response.prediction_time_ms / 1000 / len(response.images)
        for image in response.images:
            outcome = "removed_for_safety" if image.removed_for_safety else "generated"
            self._images.labels(outcome).inc()
            self._durations.observe(duration_s)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class RequestCounter:
    """An ASGI application that counts the generate requests of the application inside it.

    It wraps FastAPI's from outside: a middleware would miss the 500 of an unhandled exception.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it by the status of its response."""

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(message["status"]).inc()
            await send(message)

        is_generate = scope["type"] == "http" and scope["path"] == GENERATE_PATH
        await self._app(scope, receive, count if is_generate else send)
