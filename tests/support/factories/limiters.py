"""Limiters of several processes before one upstream, under a clock that a test moves."""

from typing import TYPE_CHECKING

from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.schedule import RateBounds
from sd3.upstreams.rate_limit.table import RateLimitTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

STABILITY = Rate(150, 10)


class Limiters:
    """Makes limiters that share an item, and have what they remember for themselves."""

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
        """The limiter of one process, whose clock is some seconds ahead."""
        return SharedRateLimiter(
            RateLimitTable(self._client, table, "fake"),
            bounds=RateBounds(rate=rate, concurrency=concurrency, pause_seconds=pause_seconds),
            clock=lambda: self.now + ahead,
        )

    def start_times(self, permit: Permit) -> list[float]:
        """Acquire permits now and return the times of their calls."""
        return [self.now + wait for wait in permit.waits]
