"""The rate limiter and circuit breaker of one upstream, which all functions share in one item.

Slots: a caller moves `next_slot_at` on by one slot for each of its calls, in one conditional
write. The first caller after idle time records that time in `idle_since` and `idle_until`.

Circuit breaker: `failures` counts consecutive acquisitions whose calls failed. At FAILURES the
breaker opens, and no caller may call until `open_until`. Then one caller becomes the probe: it
moves `open_until` past its own call. Its success closes the breaker. Its failure doubles the time.
A probe that dies blocks the others for PROBE_SECONDS.

Leases: where concurrency is bounded, each call has a lease in `leases`, with its expiry.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from sd3.errors import (
    RequestError,
    Sd3Error,
    StorageError,
    UnexpectedError,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.schedule import (
    MICROSECONDS,
    LimiterState,
    RateBounds,
    grantable,
    start_times,
)
from sd3.upstreams.rate_limit.table import ChangedError, RateLimitTable, Update, acquire_update

FAILURES: Final = 5
"""Consecutive failed acquisitions that open the circuit breaker."""

OPEN_SECONDS: Final = 5

MAX_OPEN_SECONDS: Final = 120

FULL_SECONDS: Final = 2
"""Retry-After when all leases are taken."""

MAX_PAUSE_SECONDS: Final = 600
"""The longest pause that an upstream's Retry-After can cause."""

_TRIES: Final = 8

_logger = logging.getLogger(__name__)


class SharedRateLimiter:
    """The dispatch.RateLimiter of one upstream, which all functions share."""

    def __init__(
        self,
        table: RateLimitTable,
        *,
        bounds: RateBounds,
        clock: Callable[[], float],
    ) -> None:
        """Set up the limiter without a call; `clock` returns seconds since the epoch."""
        self._table, self._bounds, self._clock = table, bounds, clock
        self._next_slot_at = 0
        """The value at the last read. It only grows."""
        self._is_busy = False
        """Whether other callers had reserved future slots at the last read."""

    def acquire(self, calls: int, *, patience: float) -> Permit:
        """Reserve slots for up to `calls` calls, each within `patience` seconds.

        Raises UpstreamRateLimitedError when there is no such slot, and StorageError.
        """
        known: LimiterState | None = None
        for _ in range(_TRIES):
            now = self._now()
            latest = now + int(patience * MICROSECONDS)
            state = known or self._guess(now)
            count = grantable(state, self._bounds, calls, now=now, latest=latest)
            if state.open_until:
                count = min(count, 1)
            if count <= 0 or state.open_until > now:
                if known:
                    self._observe(known, now)
                raise self._rejection(state, now, latest)
            lease_holder = f"p{secrets.token_hex(8)}" if self._bounds.concurrency else ""
            try:
                found = self._table.update(
                    acquire_update(
                        state,
                        self._bounds,
                        count,
                        now=now,
                        latest=latest,
                        lease_holder=lease_holder,
                    )
                )
            except ChangedError as failed:
                known = failed.state
                continue
            self._observe(found, now)
            self._next_slot_at = max(found.next_slot_at, now) + count * self._bounds.slot
            return self._permit(
                found, start_times(found, self._bounds, count, now=now), lease_holder
            )
        raise UpstreamRateLimitedError("Too many calls are to be made at once.", retry_after=1)

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> None:
        """Record how the calls ended. Raises nothing: an error or a bug is logged."""
        pause = max(map(self._pause, errors), default=0)
        try:
            if pause:
                self._pause_until(self._now() + int(pause * MICROSECONDS))
            if all(map(_is_failure, errors)):
                self._count_failure(is_probe=permit.is_probe)
            elif permit.is_troubled and not all(map(_is_inconclusive, errors)):
                self._table.update(Update(removes=["failures", "open_until"]))
            if permit.lease_holder:
                names = [
                    f"leases.{permit.lease_holder}{number}" for number in range(len(permit.waits))
                ]
                self._table.update(Update(removes=names))
        except Exception as error:
            _logger.warning(
                "rate limiter not updated", exc_info=error, extra={"upstream": self._table.name}
            )

    def _observe(self, state: LimiterState, now: int) -> None:
        self._is_busy = state.next_slot_at > max(self._next_slot_at, now)
        self._next_slot_at = max(self._next_slot_at, state.next_slot_at)

    def _guess(self, now: int) -> LimiterState:
        """Guess the item's state; the write fails if the guess is wrong."""
        return LimiterState(next_slot_at=max(self._next_slot_at, now + 1 if self._is_busy else 0))

    def _permit(self, found: LimiterState, begins: Sequence[int], lease_holder: str) -> Permit:
        now = self._now()  # the write took its time
        return Permit(
            tuple(max(0, at - now) / MICROSECONDS for at in begins),
            lease_holder=lease_holder,
            is_troubled=bool(found.failures or found.open_until),
            is_probe=bool(found.open_until),
        )

    def _rejection(self, state: LimiterState, now: int, latest: int) -> UpstreamRateLimitedError:
        """Return the error that says why no call may start now, and when to retry."""
        if state.open_until > now:
            seconds = (state.open_until - now) / MICROSECONDS
            return UpstreamRateLimitedError(
                "The upstream fails, and rests a while.", retry_after=seconds
            )
        if state.next_slot_at > latest:
            # Callers retry when the last reserved slot is three quarters of their patience away.
            # They do not all retry at once, and no slot should pass unused meanwhile.
            seconds = (state.next_slot_at - now - (latest - now) / 4) / MICROSECONDS
            return UpstreamRateLimitedError(
                "The upstream's calls are used up.", retry_after=seconds
            )
        return UpstreamRateLimitedError("The upstream has enough to do.", retry_after=FULL_SECONDS)

    def _pause(self, error: Sd3Error | None) -> float:
        """Return for how many seconds an error pauses all callers."""
        if not isinstance(error, UpstreamUnavailableError) or _is_ours(error):
            return 0.0
        default = self._bounds.pause_seconds if _is_throttled(error) else 0
        seconds = default if error.retry_after is None else error.retry_after
        return min(seconds, MAX_PAUSE_SECONDS)

    def _pause_until(self, until: int) -> None:
        """Delay all slots to `until` or later."""
        forget_idle_time = Update(removes=["idle_since", "idle_until"])
        hold_back = Update(
            sets=["next_slot_at = :until"],
            removes=forget_idle_time.removes,
            conditions=["(attribute_not_exists(next_slot_at) OR next_slot_at < :until)"],
            values={":until": until},
        )
        try:
            self._table.update(hold_back)
        except ChangedError:  # the next slot is later already; only idle time could begin earlier
            self._table.update(forget_idle_time)
        else:
            self._next_slot_at = max(self._next_slot_at, until)

    def _count_failure(self, *, is_probe: bool) -> None:
        """Count a failure. While the breaker is open, only the probe's failure counts.

        Other calls began before the breaker opened. They would count one outage many times.
        """
        conditions = [] if is_probe else ["attribute_not_exists(open_until)"]
        count = Update(adds=["failures :one"], conditions=conditions, values={":one": 1})
        try:
            doubled = self._table.update(count).failures + 1 - FAILURES
            if doubled >= 0:
                seconds = min(OPEN_SECONDS * 2.0 ** min(doubled, 10), MAX_OPEN_SECONDS)
                open_breaker = Update(sets=["open_until = :until"], conditions=conditions)
                open_breaker.values[":until"] = self._now() + int(seconds * MICROSECONDS)
                self._table.update(open_breaker)
        except ChangedError:
            return  # meanwhile another caller has opened the breaker

    def _now(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _is_failure(error: Sd3Error | None) -> bool:
    """Return whether a call shows that the upstream is broken, not busy or rejecting a request."""
    if isinstance(error, UpstreamUnavailableError):
        return not _is_inconclusive(error)
    return isinstance(error, UpstreamFailedError | UpstreamTimeoutError | UpstreamResponseError)


def _is_inconclusive(error: Sd3Error | None) -> bool:
    """Return whether a call shows nothing about the upstream's health."""
    return _is_throttled(error) or _is_ours(error)


def _is_throttled(error: Sd3Error | None) -> bool:
    return isinstance(error, UpstreamThrottledError)


def _is_ours(error: Sd3Error | None) -> bool:
    ours = UpstreamRateLimitedError | StorageError | RequestError | UnexpectedError
    return isinstance(error, ours)
