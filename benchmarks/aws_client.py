"""What botocore does around a service of AWS in virtual time, and what can happen on the way."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from botocore.exceptions import ClientError, ConnectionClosedError

from benchmarks.virtual_time import VirtualTime

ATTEMPTS: Final = 4
"""Of one call, as sd3.adapters.aws has it configured."""
MOST_WAIT_SECONDS: Final = 20
_REPEATED: Final = frozenset(
    ("ThrottlingException", "ProvisionedThroughputExceededException", "InternalServerError")
)


@dataclass(frozen=True)
class Network:
    """How often what is sent is lost."""

    lost_requests: float = 0.0
    """The share of all attempts of calls of which AWS sees nothing."""
    lost_replies: float = 0.0
    """The share of all attempts of which AWS does what it is asked, and nobody hears of it."""
    outages: float = 0.0
    """The share of all calls of which each attempt is lost, in the one way or the other."""


SURE: Final = Network()


def nothing() -> None:
    """Do nothing around a call."""


class AwsClient:
    """A client of one process: it repeats what is throttled or lost, with growing random waits.

    As botocore's standard mode does, it has four attempts, and it gives a transaction a token, so
    that a repeated one is applied once. Any other write can be applied twice.
    """

    def __init__(
        self,
        service: Any,
        time: VirtualTime,
        random: Random,
        *,
        network: Network = SURE,
        around: Callable[[], None] = nothing,
        counts: Counter[str] | None = None,
    ) -> None:
        """Set up a client that calls `around` before and after each call.

        `counts` is where it counts lost requests and lost replies.
        """
        self._service, self._time, self._random = service, time, random
        self._network, self._around = network, around
        self._counts: Counter[str] = Counter() if counts is None else counts

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self._service, operation)

        def call(**request: Any) -> Any:
            self._around()
            if operation == "transact_write_items":
                request.setdefault("ClientRequestToken", f"{self._random.getrandbits(64):x}")
            reply = self._repeat(method, request)
            self._around()
            return reply

        return call

    def _repeat(self, method: Callable[..., Any], request: dict[str, Any]) -> Any:
        is_out = self._random.random() < self._network.outages
        self._counts["outages"] += is_out
        for attempt in range(ATTEMPTS):
            try:
                return self._send(method, request, is_out=is_out)
            except ConnectionClosedError:
                if attempt == ATTEMPTS - 1:
                    raise
            except ClientError as error:
                if attempt == ATTEMPTS - 1 or error.response["Error"]["Code"] not in _REPEATED:
                    raise
            self._time.sleep(self._random.random() * min(2.0**attempt, MOST_WAIT_SECONDS))
        raise AssertionError("not reached")

    def _send(self, method: Callable[..., Any], request: dict[str, Any], *, is_out: bool) -> Any:
        requests, replies = self._network.lost_requests, self._network.lost_replies
        luck = self._random.random() * (requests + replies if is_out else 1)
        if luck < requests:
            self._counts["lost requests"] += 1
            raise ConnectionClosedError(endpoint_url="https://aws.test/")
        is_lost = luck < requests + replies
        try:
            reply = method(**request)
        except ClientError:
            if not is_lost:
                raise
        if is_lost:
            self._counts["lost replies"] += 1
            raise ConnectionClosedError(endpoint_url="https://aws.test/")
        return reply
