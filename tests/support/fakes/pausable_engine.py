"""An engine of the model server that a test can pause."""

import threading
from collections.abc import Iterable, Sequence

from PIL import Image
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest
from model_server.engines.protocol import EngineClosedError, GeneratedImage

_TIMEOUT_S = 20


class PausableEngine:
    """Loads and generates black images, but waits while it is paused, as it is at first.

    `generating` is set when a request has reached it.
    """

    name = "pausable"
    description = "pausable; for tests"
    digital_source_type = "algorithmicMedia"
    concurrency = 1
    collectors: Sequence[Collector] = ()

    def __init__(self, *, load_error: Exception | None = None) -> None:
        self.generating = threading.Event()
        self._resumed = threading.Event()
        self._load_error = load_error
        self._closed = False

    def pause(self) -> None:
        """Make the next request wait, and reset `generating`."""
        self._resumed.clear()
        self.generating.clear()

    def resume(self) -> None:
        """Let waiting requests continue."""
        self._resumed.set()

    def load(self) -> None:
        if self._load_error:
            raise self._load_error
        self._resumed.wait(_TIMEOUT_S)

    def rejects(self, request: GenerateRequest) -> bool:
        return False

    def generate(
        self, request: GenerateRequest, *, seeds: Sequence[int], init_image: Image.Image | None
    ) -> Iterable[GeneratedImage]:
        self.generating.set()
        self._resumed.wait(_TIMEOUT_S)
        if self._closed:
            raise EngineClosedError
        return [GeneratedImage(Image.new("RGB", (request.width, request.height))) for _ in seeds]

    def close(self) -> None:
        self._closed = True
        self._resumed.set()
