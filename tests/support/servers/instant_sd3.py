"""An SD3 server that has one image for everything, and counts the calls of each seed."""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from json import dumps, loads
from threading import Thread
from typing import Final

from PIL import Image

FORBIDDEN: Final = "forbidden"
"""A prompt that the server refuses, as OctoAI's policy had it."""

_POLICY: Final = {"message": "This request violates our Acceptable Use Policy."}


class InstantSd3(ThreadingHTTPServer):
    """Costs almost no time, so that a test of many jobs is one of the service."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: Counter[int] = Counter()
        file = BytesIO()
        Image.new("RGB", (1024, 1024)).save(file, "JPEG")
        self.image_b64 = b64encode(file.getvalue()).decode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: InstantSd3

    def do_POST(self) -> None:
        body = loads(self.rfile.read(int(self.headers["Content-Length"])))
        seed = body["seed"] if isinstance(body["seed"], int) else body["seed"][0]
        self.server.calls[seed] += 1
        if body["prompt"] == FORBIDDEN:
            self._send(400, _POLICY)
            return
        image = {"image_b64": self.server.image_b64, "removed_for_safety": False, "seed": seed}
        self._send(200, {"images": [image], "prediction_time_ms": 1})

    def _send(self, status: int, answer: object) -> None:
        content = dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


@contextmanager
def instant() -> Iterator[InstantSd3]:
    """Run the server until the `with` block ends."""
    with InstantSd3() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
