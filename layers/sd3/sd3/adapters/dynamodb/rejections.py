"""The last rejections of a process, which it repeats for some seconds without a call."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sd3.domain.billing import (
    budget_exceeded,
    next_day,
    next_minute,
    rate_limited,
    total_budget_exceeded,
)
from sd3.domain.client import JWT_CLIENTS, ClientLimits
from sd3.errors import RequestError

KEEP_BUDGET: Final = timedelta(seconds=5)
"""How long a rejected amount is rejected again, even if a refund makes room for it meanwhile."""


class _Rejection(NamedTuple):
    until: datetime
    micros: int = 0
    left: int | None = None
    """What is left of the budget; None for a rejection by the rate limit."""


class RejectionCache:
    """The last rejections of this process, by client."""

    def __init__(self) -> None:
        self._last: dict[str, _Rejection] = {}

    def note_budget(self, client_id: str, micros: int, *, left: int, now: datetime) -> None:
        """Record that a budget had `left` micro-dollars left, too few for `micros`."""
        self._note(client_id, _Rejection(min(now + KEEP_BUDGET, next_day(now)), micros, left), now)

    def note_total(self, micros: int, *, now: datetime) -> None:
        """Record that the budget which clients share had no room for `micros`."""
        until = min(now + KEEP_BUDGET, next_day(now))
        self._note(JWT_CLIENTS, _Rejection(until, micros), now)

    def note_rate(self, client_id: str, *, now: datetime) -> None:
        """Record that the rate limit of the current minute was reached."""
        self._note(client_id, _Rejection(next_minute(now)), now)

    def find(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> RequestError | None:
        """Return the error for a request that costs `micros`, or None if none is cached."""
        if limits.total_daily_budget_micros is not None:
            total = self._last.get(JWT_CLIENTS)
            if total and now < total.until and micros >= total.micros:
                return total_budget_exceeded(now=now)
        last = self._last.get(client_id)
        if last is None or now >= last.until:
            return None
        if last.left is None:
            return rate_limited(limits, now=now) if limits.requests_per_minute else None
        if limits.daily_budget_micros is None or micros < last.micros:
            return None
        return budget_exceeded(micros, limits, left=last.left, now=now)

    def _note(self, client_id: str, rejection: _Rejection, now: datetime) -> None:
        self._last = {one: last for one, last in self._last.items() if last.until > now}
        self._last[client_id] = rejection
