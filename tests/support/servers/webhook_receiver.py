"""A receiver of webhooks on loopback: each of its endpoints answers by a script of its own."""

import ssl
from collections import defaultdict
from functools import cache
from itertools import count
from threading import Event
from typing import Any, Final

from openai import OpenAI
from standardwebhooks import Webhook

from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Received,
    Reply,
    Wire,
    http_reply,
)

TAKEN: Final = http_reply(204, keep=False)


class Held:
    """Takes each message when `release` is set."""

    def __init__(self) -> None:
        self.release = Event()

    def __call__(self, wire: Wire) -> bool:
        while not self.release.is_set() and wire.pause(0.05):
            pass
        return TAKEN(wire)


class WebhookServer(MisbehavingServer):
    """Has the endpoints that tests open, each at a path of its own."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(TAKEN, tls=tls)
        self._scripts: dict[str, list[Reply]] = {}
        self._received: dict[str, list[Received]] = defaultdict(list)
        self._numbers = count(1)

    def open(
        self,
        *script: Reply,
        scheme: str = "http",
        host: str = "127.0.0.1",
        query: str = "key=secret",
    ) -> str:
        """Open an endpoint that takes messages, or does as its script says; return its URL."""
        path = f"/hooks/{next(self._numbers)}?{query}"
        self._scripts[path] = list(script or (TAKEN,))
        return f"{scheme}://{host}:{self.server_address[1]}{path}"

    def received(self, url: str) -> list[Received]:
        """Return what an endpoint has got so far."""
        with self._lock:
            return [*self._received["/" + url.split("/", 3)[3]]]

    def next_reply(self, received: Received) -> Reply:
        with self._lock:
            self.requests.append(received)
            self._received[received.path].append(received)
            script = self._scripts[received.path]
            return script.pop(0) if len(script) > 1 else script[0]


def verified(message: Received, secret: str) -> Any:
    """Read a message as two libraries do that know nothing of this service.

    They raise if it is not signed with the secret, or not just now.
    """
    content = Webhook(secret).verify(message.body, message.headers)
    event: Any = _openai().webhooks.unwrap(message.body, message.headers, secret=secret)
    assert event.type == content["type"]
    return content


@cache
def _openai() -> OpenAI:
    return OpenAI(api_key="none")
