"""Rate limiters of several processes for one upstream, with a clock that a test sets."""

from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from sd3.domain.generation import NO_ORIGIN, TaskOrigin
from sd3.errors import UpstreamFailedError, UpstreamRateLimitedError
from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.schedule import RateBounds
from sd3.upstreams.rate_limit.table import RateLimitTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

STABILITY = Rate(150, 10)
_NUMBERS = count()


class Limiters:
    """Makes limiters that share an item of the table, each with the cache of its own process."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        self.now = 1_800_000_000.0

    def make(
        self,
        rate: Rate | None = STABILITY,
        *,
        concurrency: int | None = None,
        pause_seconds: int = 5,
        table: str = "upstreams",
        ahead: float = 0.0,
    ) -> SharedRateLimiter:
        """Make the limiter of one process, whose clock is `ahead` seconds ahead."""
        return SharedRateLimiter(
            RateLimitTable(self._client, table, "fake"),
            bounds=RateBounds(rate=rate, concurrency=concurrency, pause_seconds=pause_seconds),
            clock=lambda: self.now + ahead,
        )

    def make_doubting(
        self, rate: Rate | None = STABILITY, *, concurrency: int | None = None
    ) -> SharedRateLimiter:
        """Make the limiter of a process whose last call failed, so that its next failure counts."""
        limiter = self.make(rate, concurrency=concurrency)
        fail(limiter)
        return limiter

    def start_times(self, permit: Permit) -> list[float]:
        """Acquire permits now and return the times of their calls."""
        return [self.now + wait for wait in permit.waits]


def fail(limiter: SharedRateLimiter, times: int = 1) -> None:
    """Make calls that fail, each for another job of another client."""
    for number in islice(_NUMBERS, times):
        origin = TaskOrigin(f"client-{number}", f"job-{number}")
        permit = limiter.acquire(1, patience=20, origin=origin)
        limiter.release(permit, [UpstreamFailedError("It broke.")])


def seconds_until_retry(
    limiter: SharedRateLimiter,
    calls: int = 16,
    *,
    patience: float = 20,
    origin: TaskOrigin = NO_ORIGIN,
) -> float:
    """Return the seconds after which a limiter without free slots allows a retry."""
    with pytest.raises(UpstreamRateLimitedError) as caught:
        limiter.acquire(calls, patience=patience, origin=origin)
    assert caught.value.retry_after is not None
    return caught.value.retry_after
