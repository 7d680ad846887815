"""Calls to a misbehaving server, over a session whose clock does not wait."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Final

import pytest

from sd3.errors import UpstreamError
from sd3.http.auth import BearerAuth
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpLimits, HttpResponse, HttpSession
from tests.support.servers.scripted_server import MisbehavingServer, Reply

LIMITS: Final = HttpLimits(max_bytes=4_000_000, min_seconds=0)
SECRET: Final = "sk-secret"


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeKey:
    """A key that the secret holds, and the ones that it holds later, one after the other."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts) or [SECRET]
        self.rejected: list[str] = []

    def read(self) -> str:
        return self.texts[0]

    def renew(self, rejected: str) -> bool:
        self.rejected.append(rejected)
        if len(self.texts) > 1 and self.texts[0] == rejected:
            del self.texts[0]
        return self.read() != rejected


class Caller:
    """A server and a session with it."""

    def __init__(self, server: MisbehavingServer, limits: HttpLimits) -> None:
        self.server = server
        self.time = FakeTime()
        self.session = HttpSession(server.url + "/", limits=limits, clock=self.time.clock)

    def post(
        self,
        *,
        seconds: float = 30,
        body: bytes = b"{}",
        auth: BearerAuth | None = None,
        explain: Callable[[ErrorResponse], UpstreamError | None] = lambda _: None,
    ) -> HttpResponse:
        """Post so many seconds before the deadline."""
        return self.session.post(
            "/generate",
            auth=auth or BearerAuth(FakeKey()),
            headers={},
            body=body,
            deadline=self.time.now + seconds,
            explain=explain,
        )


Serve = Callable[..., Caller]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that follow their scripts, and end with the test."""
    with ExitStack() as ends:

        def start(*script: Reply, limits: HttpLimits = LIMITS) -> Caller:
            caller = Caller(ends.enter_context(MisbehavingServer(*script)), limits)
            ends.enter_context(closing(caller.session))
            return caller

        yield start
