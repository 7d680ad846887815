"""What GET /metrics tells: answers, pictures, their time, and the requests that wait."""

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

from model_server.contract.schemas import GenerateAnswer

DRAWING_PATH: Final = "/generate/sd3"
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
"""From a sketch to a large model whose weights are brought in layer by layer."""


class Metrics:
    """Numbers only: no label holds anything of a request."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, of_engine: Iterable[Collector]) -> None:
        """`of_engine` is what the engine measures of itself."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.answers = Counter(
            "model_server_answers", "Answers to drawing requests", ["status"], registry=registry
        )
        self._pictures = Counter(
            "model_server_pictures", "Pictures drawn", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "model_server_picture_seconds",
            "Seconds per picture, drawn and encoded: a request's time shared by its pictures",
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge(
            "model_server_requests_waiting", "Requests that wait for the engine", registry=registry
        )
        self.drawing = Gauge(
            "model_server_requests_drawing", "Requests that are being drawn", registry=registry
        )
        for collector in of_engine:
            registry.register(collector)

    def count_pictures(self, answer: GenerateAnswer) -> None:
        """Count a drawn request's pictures and the time of each."""
        for image in answer.images:
            outcome = "removed_for_safety" if image.removed_for_safety else "drawn"
            self._pictures.labels(outcome).inc()
            self._seconds.observe(answer.prediction_time_ms / 1000 / len(answer.images))

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)


class CountedAnswers:
    """An application whose answers to drawing requests are counted, whoever gives them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._answers = metrics.answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers.labels(message["status"]).inc()
            await send(message)

        drawing = scope["type"] == "http" and scope["path"] == DRAWING_PATH
        await self._app(scope, receive, count if drawing else send)
