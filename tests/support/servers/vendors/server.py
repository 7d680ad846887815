"""The common part of the vendors' servers on loopback: recorded calls and scripted replies."""

import json
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Received,
    Reply,
    Wire,
    head,
    http_reply,
)

KEY: Final = "sk-of-the-vendor"
TEXT: Final = "Something of a fox went wrong."
"""A text in errors that must not be repeated."""
_PIECE: Final = bytes(1024 * 1024)


class Call(NamedTuple):
    """One request that was well-formed: its fields as they were sent, and its image."""

    fields: Mapping[str, Any]
    image: bytes | None
    headers: Mapping[str, str]

    @property
    def seed(self) -> int:
        """Return the seed of the first image; 0 if the call has no seed."""
        seed = self.fields.get("seed", 0)
        return int(seed[0] if isinstance(seed, list) else seed)


class VendorServer(MisbehavingServer):
    """Responds as its vendor documents, but for the replies that a test has set.

    `calls` are the requests that were well-formed, in the order in which they came; `key` is the
    key that it takes. A subclass parses a request and responds to it.
    """

    def __init__(self, *, key: str = KEY) -> None:
        super().__init__()
        self.key = key
        self.calls: list[Call] = []
        self._next: deque[Reply] = deque()
        self._by_seed: dict[int, deque[Reply]] = defaultdict(deque)
        self._always: Reply | None = None
        self.filtered: dict[int, str] = {}
        self._telling = threading.Lock()

    def set_replies(self, *replies: Reply, seed: int | None = None) -> None:
        """Set the replies to the next calls, in order; or to those with one seed."""
        with self._telling:
            (self._next if seed is None else self._by_seed[seed]).extend(replies)

    def set_every_reply(self, reply: Reply | None) -> None:
        """Set the reply to every call from now on; None means as documented."""
        self._always = reply

    def filter(self, *seeds: int, reason: str = "") -> None:
        """Filter the images of these seeds, for a reason that some vendors report."""
        self.filtered |= dict.fromkeys(seeds, reason)

    def forget(self) -> None:
        """Forget all calls and replies."""
        with self._telling:
            self.calls.clear()
            self.requests.clear()
            self.filtered.clear()
            self._next.clear()
            self._by_seed.clear()
            self._always = None

    def next_reply(self, received: Received) -> Reply:
        """Read a request, and send its reply."""
        self.requests.append(received)
        read = self.read(received)
        if not isinstance(read, Call):
            return read
        with self._telling:
            self.calls.append(read)
            scripted = self._by_seed[read.seed] or self._next
            if scripted:
                return scripted.popleft()
        return self._always or self.generate(read)

    def read(self, received: Received) -> Call | Reply:
        """Parse the call, or make the error of one that the vendor would reject."""
        raise NotImplementedError

    def generate(self, call: Call) -> Reply:
        """Make the response to a call."""
        raise NotImplementedError

    def has_key(self, received: Received) -> bool:
        """Return whether a request names the key of this server."""
        return received.headers.get("authorization") == f"Bearer {self.key}"


def json_reply(status: int, value: object, *, error_type: str | None = None) -> Reply:
    """Make a response in JSON; `error_type` is AWS's name of an error."""
    return http_reply(status, json.dumps(value).encode(), x_amzn_errortype=error_type)


def html(status: int = 200) -> Reply:
    """Make a gateway's error page."""
    body = b"<html><body>Welcome to nginx!</body></html>"
    return http_reply(status, body, content_type="text/html")


def redirect(url: str, status: int = 307) -> Reply:
    """Make a redirect."""
    return http_reply(status, b"", location=url)


def hung_up(_wire: Wire) -> bool:
    """Close the connection without a response."""
    return False


def slow(reply: Reply, seconds: float) -> Reply:
    """Respond late, if the server still runs."""

    def late(wire: Wire) -> bool:
        return wire.pause(seconds) and reply(wire)

    return late


def cut_off(reply: Reply, *, missing: int = 1000) -> Reply:
    """Send a truncated response: without its last `missing` bytes, half at most."""

    def shortened(wire: Wire) -> bool:
        sent = _Recorded()
        reply(sent)
        data = bytes(sent.data)
        body_at = data.index(b"\r\n\r\n") + 4
        wire.send(data[: max(len(data) - missing, (body_at + len(data)) // 2)])
        return False

    return shortened


def endless(megabytes: int = 200, *, says_so: bool = False, **headers: str | None) -> Reply:
    """Send a 200 of so many megabytes, generated on the fly; `says_so` adds its length."""
    length = str(megabytes * len(_PIECE)) if says_so else None

    def reply(wire: Wire) -> bool:
        wire.send(head(200, content_length=length, **headers))
        for _ in range(megabytes):
            wire.send(_PIECE)
        return False

    return reply


class _Recorded(Wire):
    """Takes what a reply writes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def send(self, data: bytes) -> None:
        self.data += data

    def pause(self, seconds: float) -> bool:
        return True
