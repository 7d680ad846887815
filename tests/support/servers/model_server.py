"""The model server in a thread, on a free port, and a client for it."""

import base64
import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from PIL import Image

from model_server.server.lifecycle import Server
from model_server.settings import Settings

TOKEN = "token-of-the-tests"
TIMEOUT_S = 20
"""How long a test waits for an event before it fails."""


@dataclass(frozen=True)
class ModelServerClient:
    """A client of the server at `url`, which sends `headers` with every POST."""

    url: str
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    def generate(self, **fields: object) -> requests.Response:
        """POST `fields` as JSON."""
        return requests.post(
            f"{self.url}/generate/sd3", json=fields, headers=self.headers, timeout=TIMEOUT_S
        )

    def post(self, body: bytes | Iterator[bytes]) -> requests.Response:
        """POST `body` as it is; an iterator is sent in chunks, without a Content-Length."""
        return requests.post(
            f"{self.url}/generate/sd3", data=body, headers=self.headers, timeout=TIMEOUT_S
        )

    def health(self) -> requests.Response:
        """GET /health."""
        return requests.get(f"{self.url}/health", timeout=TIMEOUT_S)

    def metrics(self) -> dict[str, float]:
        """GET /metrics, and return the value of each sample by its name with labels."""
        response = requests.get(f"{self.url}/metrics", timeout=TIMEOUT_S)
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        lines = [line for line in response.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@contextmanager
def run_model_server(**settings: Any) -> Iterator[ModelServerClient]:
    """Run a server with `settings` until the block ends; the block starts when it is ready."""
    urls: queue.Queue[str] = queue.Queue()
    server = Server(Settings(token=TOKEN, port=0, **settings), on_ready=urls.put)
    with run_in_thread(server):
        yield ModelServerClient(urls.get(timeout=TIMEOUT_S))


@contextmanager
def run_in_thread(server: Server) -> Iterator[None]:
    """Run `server` until the block ends, and assert that it stops."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def decode_images(response: requests.Response) -> list[Image.Image]:
    """Decode the images of a 200; Pillow also returns their format."""
    assert response.status_code == 200, response.text[:300]
    return [
        Image.open(io.BytesIO(base64.b64decode(image["image_b64"], validate=True)))
        for image in response.json()["images"]
    ]
