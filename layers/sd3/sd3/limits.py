"""What a client is told when its limits have no room, and for a moment what it was told last."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sd3.access import Limits
from sd3.errors import BudgetExceededError, RateLimitedError, RequestError
from sd3.ledger import next_day, next_minute
from sd3.money import dollars

KEEP_BUDGET: Final = timedelta(seconds=5)
"""For so long what did not fit is taken not to fit: what is refunded meanwhile has to wait."""


def budget_exceeded(micros: int, limits: Limits, *, left: int, now: datetime) -> RequestError:
    """The refusal of what takes `micros` of a budget that has `left`."""
    return BudgetExceededError(
        f"This takes ${dollars(micros)}, and of the budget of"
        f" ${dollars(limits.daily_budget_micros or 0)} a day ${dollars(max(left, 0))} is left;"
        f" it resets at {next_day(now):%Y-%m-%dT%H:%M:%SZ}."
    )


def rate_limited(limits: Limits, *, now: datetime) -> RequestError:
    """The refusal of one request too many in this minute."""
    left = (next_minute(now) - now).total_seconds()
    return RateLimitedError(
        f"Only {limits.requests_per_minute} requests a minute are taken from this client.",
        retry_after=left,
    )


class _Refusal(NamedTuple):
    until: datetime
    micros: int = 0
    left: int | None = None
    """Of the budget; None when it was the minute's."""


class LastRefusals:
    """The last refusals of this process, by client."""

    def __init__(self) -> None:
        self._last: dict[str, _Refusal] = {}

    def note_budget(self, client_id: str, micros: int, *, left: int, now: datetime) -> None:
        """Note that a budget had no room for so much."""
        self._note(client_id, _Refusal(min(now + KEEP_BUDGET, next_day(now)), micros, left), now)

    def note_rate(self, client_id: str, *, now: datetime) -> None:
        """Note that a minute had no room."""
        self._note(client_id, _Refusal(next_minute(now)), now)

    def find(
        self, client_id: str, micros: int, *, limits: Limits, now: datetime
    ) -> RequestError | None:
        """What a request for so much would be told; None when that is not known."""
        last = self._last.get(client_id)
        if last is None or now >= last.until:
            return None
        if last.left is None:
            return rate_limited(limits, now=now) if limits.requests_per_minute else None
        if limits.daily_budget_micros is None or micros < last.micros:
            return None
        return budget_exceeded(micros, limits, left=last.left, now=now)

    def _note(self, client_id: str, refusal: _Refusal, now: datetime) -> None:
        self._last = {one: last for one, last in self._last.items() if last.until > now}
        self._last[client_id] = refusal
