"""The generate function behind HTTP, with a clock that only moves while it holds a caller."""

from collections.abc import Callable
from typing import Any

from sd3 import bootstrap
from tests.support.fakes.ports import NOON, FakeTime
from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Received,
    Reply,
    http_reply,
    silent,
)

Call = Callable[[dict[str, Any]], dict[str, Any]]


class FunctionServer(MisbehavingServer):
    """Calls the function with an event of each request; its calls are call-1, call-2 and so on.

    A worker takes the job of the first call at `worked_at`, in seconds of the clock.
    """

    def __init__(
        self,
        call: Call,
        make_event: Callable[[Received], dict[str, Any]],
        *,
        worked_at: float = 1e9,
    ) -> None:
        super().__init__(silent)
        self._call, self._make_event, self._worked_at = call, make_event, worked_at
        self.time = FakeTime()

    def sleep(self, seconds: float) -> None:
        before = self.time.slept
        self.time.advance(seconds)
        if before < self._worked_at <= self.time.slept:
            bootstrap.worker().process("call-1", seconds=300, sent_at=NOON, receives=1)

    def next_reply(self, received: Received) -> Reply:
        super().next_reply(received)
        event = self._make_event(received)
        event["headers"] = received.headers
        event["requestContext"]["extendedRequestId"] = f"call-{len(self.requests)}"
        event["requestContext"]["requestTimeEpoch"] += int(1000 * self.time.slept)
        response = self._call(event)
        names = {name.lower().replace("-", "_"): text for name, text in response["headers"].items()}
        return http_reply(response["statusCode"], response["body"].encode(), **names)
