"""Receives webhooks on this machine, and keeps those whose signature fits."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final, Self

from standardwebhooks import Webhook, WebhookVerificationError

from local.environment import LOOPBACK

_MAX_BYTES: Final = 1_000_000
_READ_SECONDS: Final = 10


class WebhookReceiver(ThreadingHTTPServer):
    """Listens on a free port within a `with` block."""

    daemon_threads = True

    def __init__(self, secret: str) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.url = f"http://{LOOPBACK}:{self.server_address[1]}/hooks/demo"
        self._webhook = Webhook(secret)
        self._received: dict[str, Any] = {}

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def take(self, body: bytes, headers: dict[str, str]) -> bool:
        """Keep a message, and return whether it is signed with the secret, just now."""
        try:
            message = self._webhook.verify(body, headers)
        except WebhookVerificationError:
            return False
        self._received[message["data"].get("id", "")] = message
        return True

    def message_of(self, job_id: str) -> Any:
        """Return the message of the end of a job; None while it has not come."""
        return self._received.get(job_id)


class _Handler(BaseHTTPRequestHandler):
    timeout = _READ_SECONDS

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        assert isinstance(self.server, WebhookReceiver)  # noqa: S101 - for mypy alone
        is_taken = length <= _MAX_BYTES and self.server.take(
            self.rfile.read(length), dict(self.headers.items())
        )
        self.send_response(204 if is_taken else 400)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing beside the table."""
