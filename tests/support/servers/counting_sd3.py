"""A proxy of the SD3 server that counts charged responses by seed, and keeps the last requests."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import loads
from threading import BoundedSemaphore, Event, Thread
from typing import Any, Final

import requests

HELD_SEED = 7
_AT_ONCE: Final = 6
"""Concurrent calls that are forwarded: the SD3 server rejects more than 8."""


class CountingSd3(ThreadingHTTPServer):
    """Forwards calls; one with HELD_SEED gets its response when `release` is set."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_url = upstream_url
        self.paid: Counter[int] = Counter()
        self.asked: dict[int, dict[str, Any]] = {}
        self.release = Event()
        self.places = BoundedSemaphore(_AT_ONCE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: CountingSd3

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = loads(body)
        seeds = request["seed"]
        seed = seeds if isinstance(seeds, int) else seeds[0]
        self.server.asked[seed] = request
        names = ("Authorization", "Content-Type")
        with self.server.places, requests.Session() as session:
            session.trust_env = False
            response = session.post(
                self.server.upstream_url + self.path,
                data=body,
                headers={name: self.headers[name] for name in names},
                timeout=60,
            )
        if response.status_code == 200:
            self.server.paid[seed] += 1
        if seed == HELD_SEED:
            self.server.release.wait()
        self.send_response(response.status_code)
        self.send_header("Content-Length", str(len(response.content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(response.content)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


@contextmanager
def counting(upstream_url: str) -> Iterator[CountingSd3]:
    """Run the proxy until the `with` block ends."""
    with CountingSd3(upstream_url) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
