"""The rate limiter and circuit breaker of one upstream, which all functions share.

Slots: a caller moves `next_slot_at` on by one slot for each of its calls, in one conditional
write. The first caller after idle time records that time in `idle_since` and `idle_until`. Where
the bounds are high, they are divided among several items (see shards.py). A caller takes its slots
from one of them. Where there are no bounds, a caller of a healthy upstream writes nothing (see
health.py).

Leases: where concurrency is bounded, each call has a lease in `leases`, with its expiry.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from sd3.domain.generation import NO_ORIGIN, TaskOrigin
from sd3.errors import Sd3Error, UpstreamRateLimitedError
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.health import UpstreamHealth, open_until
from sd3.upstreams.rate_limit.outcomes import pause_seconds
from sd3.upstreams.rate_limit.schedule import (
    MICROSECONDS,
    LimiterState,
    RateBounds,
    grantable,
    is_idle,
    start_times,
)
from sd3.upstreams.rate_limit.shards import Demand, Shards
from sd3.upstreams.rate_limit.table import ChangedError, RateLimitTable, Update, acquire_update

FULL_SECONDS: Final = 2
"""Retry-After when all leases are taken."""

STEP_TIME_SECONDS: Final = 3600
"""How long a measured time of a step counts."""

_TRIES: Final = 8

_logger = logging.getLogger(__name__)


class _Offer(NamedTuple):
    """What a caller can have, if the item of this number is in this state."""

    number: int
    state: LimiterState
    calls: int
    health: LimiterState
    """What is known of the first item."""
    needs_write: bool


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
        self._shards = Shards(table, bounds)
        items = self._shards.items
        looks = bounds.are_none or len(items) > 1
        self._health = UpstreamHealth(items[0], looks=looks, now=self._now)

    def acquire(self, calls: int, *, patience: float, origin: TaskOrigin = NO_ORIGIN) -> Permit:
        """Reserve slots for up to `calls` calls, each within `patience` seconds.

        `origin` is the job that is called for. Raises UpstreamRateLimitedError when there is no
        such slot, and StorageError.
        """
        demand = Demand(calls, self._now() + int(patience * MICROSECONDS), origin)
        known: dict[int, LimiterState] = {}
        for _ in range(_TRIES + len(self._shards.items) - 1):
            now = self._now()
            offer = self._offer(known, demand, now)
            try:
                return self._take(offer, demand, now)
            except ChangedError as failed:
                known[offer.number] = failed.state
                if not offer.number:
                    self._shards.items[0].remember(failed.state, now)
        raise UpstreamRateLimitedError("Too many calls are to be made at once.", retry_after=1)

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> float:
        """Record how the calls ended. Raises nothing: an error or a bug is logged.

        Returns for how many seconds this opened everybody's breaker; 0 if not.
        """
        open_seconds = 0.0
        try:
            try:
                self._pause(errors)
                open_seconds = self._health.record(permit, errors)
            finally:
                self._shards.return_leases(permit)
        except Exception as error:
            _logger.warning(
                "rate limiter not updated", exc_info=error, extra={"upstream": self._table.name}
            )
        return open_seconds

    def seconds_per_step(self) -> float | None:
        """Read the time of one step of one image that was measured in the last hour, if any.

        Raises StorageError.
        """
        state = self._table.read()
        if state.step_measured_at + int(STEP_TIME_SECONDS * MICROSECONDS) < self._now():
            return None
        return state.step_time / MICROSECONDS

    def note_step(self, seconds: float, *, is_least: bool) -> None:
        """Record the measured time of one step of one image; raises nothing.

        `is_least` is whether the call timed out, so that a step takes longer than that. This counts
        only if nothing was measured in the last hour, since an upstream can also hang.
        """
        measured = Update(
            sets=["step_time = :time", "step_measured_at = :now"],
            values={":time": int(seconds * MICROSECONDS), ":now": self._now()},
        )
        if is_least:
            measured.conditions.append(
                "(attribute_not_exists(step_measured_at) OR step_measured_at < :old)"
            )
            measured.values[":old"] = self._now() - int(STEP_TIME_SECONDS * MICROSECONDS)
        try:
            self._table.update(measured)
        except ChangedError:
            return
        except Exception as error:
            _logger.warning("time not recorded", exc_info=error)

    def _offer(self, known: Mapping[int, LimiterState], demand: Demand, now: int) -> _Offer:
        """Return what a caller can have, by what is known of some items and guessed of the others.

        Raises UpstreamRateLimitedError and StorageError.
        """
        health = self._health.state(now)
        until = open_until(health, demand.origin)
        if until > now:
            raise _resting(until - now)
        number, state = 0, health
        if not until and not self._bounds.are_none:
            number, state = self._shards.best(known, demand, now)
        bounds, wanted = self._shards.items[number].bounds, 1 if until else demand.calls
        calls = grantable(state, bounds, wanted, now=now, latest=demand.latest)
        if calls <= 0:
            self._shards.note_full(known, demand, now)
            raise _rejection(state, now, demand.latest)
        is_probe = bool(until) and not demand.origin.is_retry
        return _Offer(number, state, calls, health, is_probe or not self._bounds.are_none)

    def _take(self, offer: _Offer, demand: Demand, now: int) -> Permit:
        """Take what is offered. Raises ChangedError if it is not there, and StorageError."""
        number, state, calls, health, needs_write = offer
        item = self._shards.items[number]
        idle = is_idle(state, item.bounds, now)
        lease_holder = f"p{secrets.token_hex(6)}" if item.bounds.concurrency else ""
        if needs_write:
            state = item.table.update(
                acquire_update(
                    state,
                    item.bounds,
                    calls,
                    now=now,
                    latest=demand.latest,
                    lease_holder=lease_holder,
                    origin=demand.origin,
                )
            )
            self._shards.observe(number, state, now, taken=calls, idle=idle)
            if not number:
                health = state
                item.remember(state, now)
        begins = start_times(state, item.bounds, calls, now=now, idle=idle)
        now = self._now()  # the write took its time
        waits = tuple(max(0, at - now) / MICROSECONDS for at in begins)
        return self._health.admit(Permit(waits, lease_holder, demand.origin, shard=number), health)

    def _pause(self, errors: Sequence[Sd3Error | None]) -> None:
        default = self._bounds.pause_seconds
        seconds = max((pause_seconds(error, default=default) for error in errors), default=0)
        if seconds:
            self._shards.pause_until(self._now() + int(seconds * MICROSECONDS))

    def _now(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _resting(microseconds: int) -> UpstreamRateLimitedError:
    seconds = microseconds / MICROSECONDS
    return UpstreamRateLimitedError("The upstream fails, and rests a while.", retry_after=seconds)


def _rejection(state: LimiterState, now: int, latest: int) -> UpstreamRateLimitedError:
    """Return the error that says why no call may start now, and when to retry."""
    if state.next_slot_at <= latest:
        return UpstreamRateLimitedError("The upstream has enough to do.", retry_after=FULL_SECONDS)
    # Callers retry when the last reserved slot is three quarters of their patience away. They do
    # not all retry at once, and no slot should pass unused meanwhile.
    seconds = (state.next_slot_at - now - (latest - now) / 4) / MICROSECONDS
    return UpstreamRateLimitedError("The upstream's calls are used up.", retry_after=seconds)
