"""The arithmetic of the rate limiter: when calls may start. It has neither clock nor table.

Each call takes one slot of window / calls seconds, and slots follow each other. Slots that passed
unused may be made up in a burst of up to one window, so calls after idle time need not wait. Still
no window has more calls than the rate allows: a burst of k calls has k unused slots before it and
its own k slots after it.

All times are whole microseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sd3.settings import Rate

MICROSECONDS: Final = 1_000_000

_LATE_SECONDS: Final = 0.25
"""How much later than another call a call can reach the upstream. Windows are longer by that."""

_LATE_SHARE: Final = 0.04
"""The largest share of a window that is added for it, so that short windows lose little."""

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
        return int((window + late) * MICROSECONDS / self.rate.calls) + 1

    @property
    def window(self) -> int:
        """Return the most idle time that can be made up."""
        return self.rate.seconds * MICROSECONDS if self.rate else 0


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
    end = max(latest, burst_until(state, bounds, now))
    return max(0, min(wanted, (end - max(state.next_slot_at, now)) // bounds.slot + 1))


def burst_until(state: LimiterState, bounds: RateBounds, now: int) -> int:
    """Return the time before which slots start at once, because they make up for idle time."""
    since, until = state.idle_since, state.idle_until
    if state.next_slot_at <= now:
        since, until = state.next_slot_at, now
    return until + min(until - since, bounds.window)


def start_times(
    state: LimiterState, bounds: RateBounds, count: int, *, now: int
) -> tuple[int, ...]:
    """Return when each of `count` calls may start, if the limiter was in this state."""
    early = burst_until(state, bounds, now)
    slots = [max(state.next_slot_at, now) + index * bounds.slot for index in range(count)]
    return tuple(now if slot <= early else slot for slot in slots)
