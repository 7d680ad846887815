"""When calls may be made so that no window has too many: arithmetic, without clock or table.

A call takes a slot of window / calls seconds, and slots follow each other. Slots that went by while
nobody called can be made up at once, up to a window's, so that calls after a pause need not wait:
neither several of one caller nor one each of several.
No window then has more calls than it allows: k calls at once have the time of k slots before them,
in which there were none, and the time of their own k slots after them.

All times are whole microseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sd3.settings import Rate

MICROSECONDS: Final = 1_000_000

_LATE_SECONDS: Final = 0.25
"""How much later than another a call can reach the upstream: windows are longer by that, ..."""

_LATE_SHARE: Final = 0.04
"""... but by no more of a window than this: a short one should not be given away."""

_DEAD_AT_ONCE: Final = 50
"""DynamoDB's expressions are bounded, to 4 KB."""


@dataclass(frozen=True, kw_only=True)
class RateBounds:
    """How an upstream may be called."""

    rate: Rate | None = None
    concurrency: int | None = None
    pause_seconds: int = 5
    """After a 429 that does not say for how long."""

    @property
    def slot(self) -> int:
        """From one call to the next; 0 without a rate."""
        if self.rate is None:
            return 0
        window = self.rate.seconds
        late = min(_LATE_SECONDS, window * _LATE_SHARE)
        return int((window + late) * MICROSECONDS / self.rate.calls) + 1

    @property
    def window(self) -> int:
        """How much idle time can be made up."""
        return self.rate.seconds * MICROSECONDS if self.rate else 0


@dataclass(frozen=True)
class LimiterState:
    """What is known of a limiter: `next_slot_at` is when the next slot begins."""

    next_slot_at: int = 0
    idle_since: int = 0
    idle_until: int = 0
    """The last time in which no slot was taken, and those of before were over."""
    failures: int = 0
    open_until: int = 0
    """Until when nobody calls, the upstream being given up; 0 when it is not."""
    leases: Mapping[str, int] | None = field(default_factory=dict)
    """The calls under way, where they are bounded, and when each counts as dead."""

    def expired_leases(self, now: int) -> dict[str, int]:
        """The leases of calls whose function has died, or as many as one write can take over."""
        dead = ((name, until) for name, until in (self.leases or {}).items() if until <= now)
        return dict(islice(dead, _DEAD_AT_ONCE))


def grantable(
    state: LimiterState, bounds: RateBounds, wanted: int, *, now: int, latest: int
) -> int:
    """How many of the wanted calls can have their slots until `latest`."""
    if bounds.concurrency is not None:
        taken = len(state.leases or {}) - len(state.expired_leases(now))
        wanted = min(wanted, bounds.concurrency - taken)
    if not bounds.slot:
        return wanted if state.next_slot_at <= latest else 0
    end = max(latest, burst_until(state, bounds, now))
    return max(0, min(wanted, (end - max(state.next_slot_at, now)) // bounds.slot + 1))


def burst_until(state: LimiterState, bounds: RateBounds, now: int) -> int:
    """Slots until then can be taken at once: they make up for as much idle time."""
    since, until = state.idle_since, state.idle_until
    if state.next_slot_at <= now:
        since, until = state.next_slot_at, now
    return until + min(until - since, bounds.window)


def start_times(
    state: LimiterState, bounds: RateBounds, count: int, *, now: int
) -> tuple[int, ...]:
    """When each of `count` calls may be made, by a caller who found the limiter in this state."""
    early = burst_until(state, bounds, now)
    slots = [max(state.next_slot_at, now) + index * bounds.slot for index in range(count)]
    return tuple(now if slot <= early else slot for slot in slots)
