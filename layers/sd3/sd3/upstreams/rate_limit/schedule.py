"""When calls may be made so that no window has too many: arithmetic, without clock or table.

A call takes a turn of window / calls seconds, and turns follow each other. Turns that went by while
nobody called can be made up at once, up to a window's, so that calls after a pause need not wait:
neither several of one caller nor one each of several.
No window then has more calls than it allows: k calls at once have the time of k turns before them,
in which there were none, and the time of their own k turns after them.

All times are whole microseconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sd3.settings import Rate

MICROS: Final = 1_000_000

_LATE_SECONDS: Final = 0.25
"""How much later than another a call can reach the upstream: windows are longer by that, ..."""

_LATE_SHARE: Final = 0.04
"""... but by no more of a window than this: a short one should not be given away."""

_DEAD_AT_ONCE: Final = 50
"""DynamoDB's expressions are bounded, to 4 KB."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How an upstream may be called."""

    rate: Rate | None = None
    concurrency: int | None = None
    pause_seconds: int = 5
    """After a 429 that does not say for how long."""

    @property
    def turn(self) -> int:
        """From one call to the next; 0 without a rate."""
        if self.rate is None:
            return 0
        window = self.rate.seconds
        late = min(_LATE_SECONDS, window * _LATE_SHARE)
        return int((window + late) * MICROS / self.rate.calls) + 1

    @property
    def window(self) -> int:
        """How much idle time can be made up."""
        return self.rate.seconds * MICROS if self.rate else 0


@dataclass(frozen=True)
class State:
    """What is known of a gate: `turn_at` is when the next turn begins."""

    turn_at: int = 0
    idle_since: int = 0
    idle_until: int = 0
    """The last time in which no turn was taken, and those of before were over."""
    failures: int = 0
    open_until: int = 0
    """Until when nobody calls, the upstream being given up; 0 when it is not."""
    places: Mapping[str, int] | None = field(default_factory=dict)
    """The calls under way, where they are bounded, and when each counts as dead."""

    def dead_places(self, now: int) -> dict[str, int]:
        """The places of calls whose function has died, or as many as one write can take over."""
        dead = ((name, until) for name, until in (self.places or {}).items() if until <= now)
        return dict(islice(dead, _DEAD_AT_ONCE))


def count_of(state: State, bounds: Bounds, wanted: int, *, now: int, latest: int) -> int:
    """How many of the wanted calls can have their turns until `latest`."""
    if bounds.concurrency is not None:
        taken = len(state.places or {}) - len(state.dead_places(now))
        wanted = min(wanted, bounds.concurrency - taken)
    if not bounds.turn:
        return wanted if state.turn_at <= latest else 0
    end = max(latest, early_until(state, bounds, now))
    return max(0, min(wanted, (end - max(state.turn_at, now)) // bounds.turn + 1))


def early_until(state: State, bounds: Bounds, now: int) -> int:
    """Turns until then can be taken at once: they make up for as much idle time."""
    since, until = state.idle_since, state.idle_until
    if state.turn_at <= now:
        since, until = state.turn_at, now
    return until + min(until - since, bounds.window)


def starts(state: State, bounds: Bounds, count: int, *, now: int) -> tuple[int, ...]:
    """When each of `count` calls may be made, by a caller who found the gate in this state."""
    early = early_until(state, bounds, now)
    turns = [max(state.turn_at, now) + index * bounds.turn for index in range(count)]
    return tuple(now if turn <= early else turn for turn in turns)
