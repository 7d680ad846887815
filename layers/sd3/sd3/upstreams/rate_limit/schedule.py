"""The arithmetic of the rate limiter: when calls may start. It has neither clock nor table.

Each call takes one slot of window / calls seconds, and slots follow each other. Slots that passed
unused may be made up in a burst of up to one window, so calls after idle time need not wait. Still
no window has more calls than the rate allows: a burst of k calls has k unused slots before it and
its own k slots after it.

Short slots pass while a write is under way. So where they are short, a slot may still be taken a
moment after it began, as if its call came late. Windows are longer by that moment.

All times are whole microseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil
from typing import Final

from sd3.settings import Rate

MICROSECONDS: Final = 1_000_000

_LATE_SECONDS: Final = 0.25
"""How much later than another call a call can reach the upstream. Windows are longer by that."""

_LATE_SHARE: Final = 0.04
"""The largest share of a window that is added for it, so that short windows lose little."""

_SHORT_SLOT: Final = 20_000
"""Microseconds. A write to the table takes some 5 ms."""

SHARD_CALLS: Final = 250
"""The most calls a second that one item is for. DynamoDB takes 1000 writes a second of an item. A
call needs one or two, and some fail because others came first."""

SHARD_LEASES: Final = 100
"""The most leases that one item is for. It is then below 3 KB, and a write costs by the KB."""

_LEASED_CALLS: Final = 33
"""The calls a second that have so many leases when each takes 3 s."""

_MAX_SHARDS: Final = 40
"""A limit of more calls or leases than these are for is no limit that anybody has."""

_MAX_EXPIRED: Final = 50
"""The most leases that one write removes: DynamoDB limits an expression to 4 KB."""


@dataclass(frozen=True, kw_only=True)
class RateBounds:
    """The limits on the rate and the concurrency of the calls to an upstream."""

    rate: Rate | None = None
    concurrency: int | None = None
    pause_seconds: int = 5
    """The pause after a 429 without Retry-After."""

    @property
    def slot(self) -> int:
        """Return the time from one call to the next; 0 without a rate."""
        if self.rate is None:
            return 0
        window = self.rate.seconds
        late = min(_LATE_SECONDS, window * _LATE_SHARE)
        return int(((window + late) * MICROSECONDS + self.grace) / self.rate.calls) + 1

    @property
    def grace(self) -> int:
        """Return for how long after its beginning a slot may be taken."""
        is_short = self.rate and self.window < self.rate.calls * _SHORT_SLOT
        return _SHORT_SLOT if is_short else 0

    @property
    def window(self) -> int:
        """Return the most idle time that can be made up."""
        return self.rate.seconds * MICROSECONDS if self.rate else 0

    @property
    def are_none(self) -> bool:
        """Return whether calls are bounded by nothing."""
        return self.rate is None and self.concurrency is None

    def shards(self) -> tuple["RateBounds", ...]:
        """Divide the bounds among as many items as their writes need; the parts' sum is exact."""
        needed = []
        if self.rate is not None:
            most = SHARD_CALLS if self.concurrency is None else _LEASED_CALLS
            needed.append(ceil(self.rate.calls / self.rate.seconds / most))
        if self.concurrency is not None:
            needed.append(ceil(self.concurrency / SHARD_LEASES))
        count = min([*needed, _MAX_SHARDS]) if needed else 1
        return tuple(self._shard(number, count) for number in range(count))

    def _shard(self, number: int, count: int) -> "RateBounds":
        rate = self.rate and self.rate._replace(calls=_part(self.rate.calls, number, count))
        concurrency = self.concurrency and _part(self.concurrency, number, count)
        return replace(self, rate=rate, concurrency=concurrency)


@dataclass(frozen=True)
class LimiterState:
    """The limiter's item at one time. `next_slot_at` is when the next free slot begins."""

    next_slot_at: int = 0
    idle_since: int = 0
    idle_until: int = 0
    """End of the last interval in which no slot was in use."""
    step_time: int = 0
    """The measured time of one step of one image, in microseconds; 0 when it is not known."""
    step_measured_at: int = 0
    failed: frozenset[str] = frozenset()
    """The evidence of the circuit breakers."""
    breakers: Mapping[str, int] = field(default_factory=dict)
    """The attributes of the circuit breakers that are open or were opened."""
    leases: Mapping[str, int] | None = field(default_factory=dict)
    """Concurrency leases by name, with their expiry; None where concurrency was never bounded."""

    @property
    def has_trouble(self) -> bool:
        """Return whether calls have failed, or a breaker is open or was until its probe."""
        return bool(self.failed or self.breakers)

    def expired_leases(self, now: int) -> dict[str, int]:
        """Return the expired leases, whose functions have died; as many as one write can remove."""
        dead = ((name, until) for name, until in (self.leases or {}).items() if until <= now)
        return dict(islice(dead, _MAX_EXPIRED))


def grantable(
    state: LimiterState, bounds: RateBounds, wanted: int, *, now: int, latest: int
) -> int:
    """Count how many of the wanted calls can start by `latest`."""
    if bounds.concurrency is not None:
        taken = len(state.leases or {}) - len(state.expired_leases(now))
        wanted = min(wanted, bounds.concurrency - taken)
    if not bounds.slot:
        return wanted if state.next_slot_at <= latest else 0
    idle = is_idle(state, bounds, now)
    begin = now if idle else state.next_slot_at
    end = max(latest, burst_until(state, bounds, now, idle=idle))
    return max(0, min(wanted, (end - begin) // bounds.slot + 1))


def is_idle(state: LimiterState, bounds: RateBounds, now: int) -> bool:
    """Return whether the next slot passed unused, so that slots begin anew."""
    return state.next_slot_at <= now - bounds.grace


def burst_until(state: LimiterState, bounds: RateBounds, now: int, *, idle: bool) -> int:
    """Return the time before which slots start at once, because they make up for idle time."""
    since, until = state.idle_since, state.idle_until
    if idle:
        since, until = state.next_slot_at, now
    return until + min(until - since, bounds.window)


def start_times(
    state: LimiterState, bounds: RateBounds, count: int, *, now: int, idle: bool
) -> tuple[int, ...]:
    """Return when each of `count` calls may start, if the limiter was in this state.

    `idle` is whether their slots begin anew, now.
    """
    early = burst_until(state, bounds, now, idle=idle)
    begin = now if idle else state.next_slot_at
    slots = [begin + index * bounds.slot for index in range(count)]
    return tuple(now if slot <= early else max(slot, now) for slot in slots)


def _part(whole: int, number: int, count: int) -> int:
    """Return one of `count` parts of a whole number, of which the first are larger by one."""
    return whole // count + (number < whole % count)
