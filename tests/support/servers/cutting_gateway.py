"""A proxy that cuts slow calls off as API Gateway does, which the embedded AWS does not."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

import requests

_CUT_SECONDS: Final = 29
_NOT_FORWARDED: Final = frozenset(("host", "content-length", "connection", "accept-encoding"))


class CuttingGateway(ThreadingHTTPServer):
    """Forwards POSTs. One that takes too long is answered 504; what is behind goes on."""

    daemon_threads = True

    def __init__(self, api_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        address = urlsplit(api_url)
        self.origin = f"{address.scheme}://{address.netloc}"
        self.url = f"http://127.0.0.1:{self.server_port}{address.path}"
        self.calls = ThreadPoolExecutor(16)
        self.cut_tokens: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: CuttingGateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        call = self.server.calls.submit(self._forward, body)
        try:
            self._answer(call)
        except TimeoutError:
            self.server.cut_tokens.append(self.headers["Authorization"])
            self._send(504, b'{"code":"still_running"}', {"Retry-After": "1"})

    def _forward(self, body: bytes) -> requests.Response:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED}
        with requests.Session() as http:
            http.trust_env = False
            return http.post(self.server.origin + self.path, data=body, headers=headers)

    def _answer(self, call: Future[requests.Response]) -> None:
        response = call.result(timeout=_CUT_SECONDS)
        kept = ("Retry-After", "x-should-retry")
        shown = {name: response.headers[name] for name in kept if name in response.headers}
        self._send(response.status_code, response.content, shown)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers |= {"Content-Length": str(len(content)), "Content-Type": "application/json"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


@contextmanager
def cutting(api_url: str) -> Iterator[CuttingGateway]:
    """Run the proxy until the `with` block ends."""
    with CuttingGateway(api_url) as gateway, gateway.calls:
        Thread(target=gateway.serve_forever, daemon=True).start()
        try:
            yield gateway
        finally:
            gateway.shutdown()
