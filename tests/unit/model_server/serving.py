"""The model server in a thread on a free port, a client for it, and an engine that waits."""

import base64
import io
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from PIL import Image
from prometheus_client.registry import Collector

from model_server.contract.schemas import GenerateRequest
from model_server.engines.protocol import Drawn, EngineClosedError
from model_server.server.lifecycle import Server
from model_server.settings import Settings

TOKEN = "token-of-the-tests"
PATIENCE_S = 20
"""How long a test waits for what must happen before it counts as failed."""


@dataclass(frozen=True)
class Client:
    """What a test asks the server at `url` with; `headers` go with every POST."""

    url: str
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    def generate(self, **fields: object) -> requests.Response:
        """POST `fields` as JSON."""
        return requests.post(
            f"{self.url}/generate/sd3", json=fields, headers=self.headers, timeout=PATIENCE_S
        )

    def send(self, body: bytes | Iterator[bytes]) -> requests.Response:
        """POST a body as it is."""
        return requests.post(
            f"{self.url}/generate/sd3", data=body, headers=self.headers, timeout=PATIENCE_S
        )

    def health(self) -> requests.Response:
        """GET /health."""
        return requests.get(f"{self.url}/health", timeout=PATIENCE_S)

    def metrics(self) -> dict[str, float]:
        """GET /metrics: each sample's name with its labels as they are written, and its value."""
        answer = requests.get(f"{self.url}/metrics", timeout=PATIENCE_S)
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@contextmanager
def running(**settings: Any) -> Iterator[Client]:
    """Run a server with these settings, ready, until the block ends."""
    urls: queue.Queue[str] = queue.Queue()
    server = Server(Settings(token=TOKEN, port=0, **settings), on_ready=urls.put)
    with in_thread(server):
        yield Client(urls.get(timeout=PATIENCE_S))


@contextmanager
def in_thread(server: Server) -> Iterator[None]:
    """Run `server` until the block ends, and see that it does end."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class GatedEngine:
    """Loads and draws only while its gate is open; `drawing` is set when a drawing has begun."""

    name = "gated"
    notice = "gated; for tests"
    parallel = 1
    collectors: Sequence[Collector] = ()

    def __init__(self, *, load_fault: Exception | None = None) -> None:
        self.gate = threading.Event()
        self.drawing = threading.Event()
        self._load_fault = load_fault
        self._closed = False

    def load(self) -> None:
        if self._load_fault:
            raise self._load_fault
        self.gate.wait(PATIENCE_S)

    def refuses(self, request: GenerateRequest) -> bool:
        return False

    def draw(
        self, request: GenerateRequest, *, seeds: Sequence[int], init_image: Image.Image | None
    ) -> Iterable[Drawn]:
        self.drawing.set()
        self.gate.wait(PATIENCE_S)
        if self._closed:
            raise EngineClosedError
        return [Drawn(Image.new("RGB", (request.width, request.height))) for _ in seeds]

    def close(self) -> None:
        self._closed = True
        self.gate.set()


def pictures_of(answer: requests.Response) -> list[Image.Image]:
    """Decode the pictures of a 200 with Pillow, which also says their format."""
    assert answer.status_code == 200, answer.text[:300]
    return [
        Image.open(io.BytesIO(base64.b64decode(image["image_b64"], validate=True)))
        for image in answer.json()["images"]
    ]


def as_base64(picture: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """Return `picture` as base64 of a file of that kind."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()
