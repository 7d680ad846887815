"""A server between the service and an SD3 server that fails some calls, and counts them all."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from typing import Final

import requests

FAILURES: Final = ("throttled", "broken", "cut off", "slow", "hung up")
"""What a call that fails comes to, each as likely as the others."""
MAY_BE_PAID: Final = frozenset(("generated", "broken", "cut off", "slow", "hung up"))
"""Outcomes that are free, which the caller cannot know."""


class MisbehavingSd3(ThreadingHTTPServer):
    """Forwards POST /generate/sd3, or fails; GET /counts returns the calls by seed and outcome.

    Of all calls `share` fail, always the same ones: what becomes of the n-th call with a seed
    is generated from both. A slow call is generated and answered after `slow_seconds`.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, upstream_url: str, *, share: float, slow_seconds: float) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstream_url = upstream_url
        self.share = share
        self.slow_seconds = slow_seconds
        self.counts: dict[int, Counter[str]] = defaultdict(Counter)
        self._lock = Lock()

    def next_outcome(self, seed: int) -> str:
        """Count a call, by what is to become of it."""
        with self._lock:
            chance = Random(f"{seed}-{self.counts[seed].total()}")  # noqa: S311 - no secret
            outcome = chance.choice(FAILURES) if chance.random() < self.share else "generated"
            self.counts[seed][outcome] += 1
            return outcome

    def correct(self, seed: int, was: str, outcome: str) -> None:
        """Count a call as something else than what it was to become."""
        with self._lock:
            self.counts[seed].subtract([was])
            self.counts[seed][outcome] += 1


class _Handler(BaseHTTPRequestHandler):
    server: MisbehavingSd3
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond(200, json.dumps(self.server.counts).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        seed = json.loads(body)["seed"]
        outcome = self.server.next_outcome(seed)
        if outcome == "throttled":
            self._respond(429, b"{}", retry_after="1")
        elif outcome == "broken":
            self._respond(500, b"{}")
        elif outcome == "cut off":
            self._respond(200, b'{"images": [', missing=1000)
        elif outcome in {"generated", "slow"}:
            response = self._passed_on(body)
            if response.status_code == 429:  # the SD3 server itself was busy
                self.server.correct(seed, outcome, "throttled")
            elif outcome == "slow":
                time.sleep(self.server.slow_seconds)
            self._respond(response.status_code, response.content)

    def _passed_on(self, body: bytes) -> requests.Response:
        names = ("Authorization", "Content-Type")
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                self.server.upstream_url + self.path,
                data=body,
                headers={name: self.headers[name] for name in names},
                timeout=60,
            )

    def _respond(self, status: int, body: bytes, *, missing: int = 0, **headers: str) -> None:
        headers |= {
            "content_type": "application/json",
            "content_length": str(len(body) + missing),
        }
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # it did not wait for a slow response

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


@contextmanager
def misbehaving(
    port: int, upstream_url: str, *, share: float, slow_seconds: float
) -> Iterator[None]:
    """Serve on a port of 127.0.0.1 until the `with` block ends; see MisbehavingSd3."""
    with MisbehavingSd3(port, upstream_url, share=share, slow_seconds=slow_seconds) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
