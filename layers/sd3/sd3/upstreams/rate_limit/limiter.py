"""The gate before an upstream: one item of a table, through which the calls of all functions go.

Turns. A caller moves `turn_at` on by as many turns as it makes calls, in one conditional write. The
first one after a time without calls notes that time in `idle_since` and `idle_until`.

Breaker. `failures` counts visits that failed one after the other. From FAILURES on, `open_until`
says until when nobody calls; then one caller moves it past its own call and is the probe, and what
that comes to lets everybody in, or doubles the time. A probe that dies holds the others up for
PROBE_SECONDS.

Places. Where the calls under way are bounded, each has one in `places`, with when it
counts as dead.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from sd3.errors import (
    RequestError,
    Sd3Error,
    StorageError,
    UpstreamAnswerError,
    UpstreamFailedError,
    UpstreamPacedError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.schedule import MICROS, Bounds, State, count_of, starts
from sd3.upstreams.rate_limit.table import ChangedError, GateTable, Update, visit

FAILURES: Final = 5
"""One after the other, until the upstream is given up for a while."""

OPEN_SECONDS: Final = 5

MAX_OPEN_SECONDS: Final = 120

FULL_SECONDS: Final = 2
"""Until it is worth looking again for a place."""

MAX_PAUSE_SECONDS: Final = 600
"""However long an upstream asks for: after it, one call asks again."""

_TRIES: Final = 8

_logger = logging.getLogger(__name__)


class SharedGate:
    """The gate of one upstream; see upstreams.calls.Gate."""

    def __init__(
        self,
        table: GateTable,
        *,
        bounds: Bounds,
        clock: Callable[[], float],
    ) -> None:
        """`clock` has seconds since the epoch. Nothing is called yet."""
        self._table, self._bounds, self._clock = table, bounds, clock
        self._turn_at = 0
        """As it was last seen. It only grows."""
        self._is_busy = False
        """Whether others had taken turns ahead of their time then."""

    def enter(self, calls: int, *, patience: float) -> Permit:
        """Take turns for up to `calls` calls, each within `patience` seconds.

        Raises UpstreamPacedError when there is none, and StorageError.
        """
        known: State | None = None
        for _ in range(_TRIES):
            now = self._now()
            latest = now + int(patience * MICROS)
            state = known or self._guess(now)
            count = count_of(state, self._bounds, calls, now=now, latest=latest)
            if state.open_until:
                count = min(count, 1)
            if count <= 0 or state.open_until > now:
                if known:
                    self._see(known, now)
                raise self._held_back(state, now, latest)
            holder = f"p{secrets.token_hex(8)}" if self._bounds.concurrency else ""
            try:
                found = self._table.update(
                    visit(state, self._bounds, count, now=now, latest=latest, holder=holder)
                )
            except ChangedError as failed:
                known = failed.state
                continue
            self._see(found, now)
            self._turn_at = max(found.turn_at, now) + count * self._bounds.turn
            return self._permit(found, starts(found, self._bounds, count, now=now), holder)
        raise UpstreamPacedError("Too many calls are to be made at once.", retry_after=1)

    def leave(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> None:
        """Tell what became of the calls; a table that cannot be written is logged."""
        pause = max(map(self._pause, errors), default=0)
        try:
            if pause:
                self._hold_back(self._now() + int(pause * MICROS))
            if all(map(_is_failure, errors)):
                self._count_failure(is_probe=permit.is_probe)
            elif permit.is_troubled and not all(map(_says_nothing, errors)):
                self._table.update(Update(removes=["failures", "open_until"]))
            if permit.holder:
                names = [f"places.{permit.holder}{number}" for number in range(len(permit.waits))]
                self._table.update(Update(removes=names))
        except StorageError as error:
            _logger.warning("gate not told", exc_info=error, extra={"upstream": self._table.name})

    def _see(self, state: State, now: int) -> None:
        self._is_busy = state.turn_at > max(self._turn_at, now)
        self._turn_at = max(self._turn_at, state.turn_at)

    def _guess(self, now: int) -> State:
        """What the gate may be like: the write holds it against the item."""
        return State(turn_at=max(self._turn_at, now + 1 if self._is_busy else 0))

    def _permit(self, found: State, begins: Sequence[int], holder: str) -> Permit:
        now = self._now()  # the write took its time
        return Permit(
            tuple(max(0, at - now) / MICROS for at in begins),
            holder=holder,
            is_troubled=bool(found.failures or found.open_until),
            is_probe=bool(found.open_until),
        )

    def _held_back(self, state: State, now: int, latest: int) -> UpstreamPacedError:
        """Why nobody may call now, and when it is worth asking again."""
        if state.open_until > now:
            seconds = (state.open_until - now) / MICROS
            return UpstreamPacedError("The upstream fails, and rests a while.", retry_after=seconds)
        if state.turn_at > latest:
            # Before the last turn that is taken by now: those who wait for a turn come back over
            # some time, in which none of the turns should go by.
            seconds = (state.turn_at - now - (latest - now) / 4) / MICROS
            return UpstreamPacedError("The upstream's calls are used up.", retry_after=seconds)
        return UpstreamPacedError("The upstream has enough to do.", retry_after=FULL_SECONDS)

    def _pause(self, error: Sd3Error | None) -> float:
        """For how many seconds an error holds all callers back."""
        if not isinstance(error, UpstreamUnavailableError) or _is_ours(error):
            return 0.0
        default = self._bounds.pause_seconds if _is_throttled(error) else 0
        asked = default if error.retry_after is None else error.retry_after
        return min(asked, MAX_PAUSE_SECONDS)

    def _hold_back(self, until: int) -> None:
        """Have no turn begin before `until`."""
        forget_idle_time = Update(removes=["idle_since", "idle_until"])
        hold_back = Update(
            sets=["turn_at = :until"],
            removes=forget_idle_time.removes,
            conditions=["(attribute_not_exists(turn_at) OR turn_at < :until)"],
            values={":until": until},
        )
        try:
            self._table.update(hold_back)
        except ChangedError:  # it is later than that already, but for those who need not wait
            self._table.update(forget_idle_time)
        else:
            self._turn_at = max(self._turn_at, until)

    def _count_failure(self, *, is_probe: bool) -> None:
        """Count one more; only a probe's counts once the upstream is given up.

        The others began before that, and would count one outage many times.
        """
        conditions = [] if is_probe else ["attribute_not_exists(open_until)"]
        count = Update(adds=["failures :one"], conditions=conditions, values={":one": 1})
        try:
            doubled = self._table.update(count).failures + 1 - FAILURES
            if doubled >= 0:
                seconds = min(OPEN_SECONDS * 2.0 ** min(doubled, 10), MAX_OPEN_SECONDS)
                give_up = Update(sets=["open_until = :until"], conditions=conditions)
                give_up.values[":until"] = self._now() + int(seconds * MICROS)
                self._table.update(give_up)
        except ChangedError:
            return  # others have given it up meanwhile

    def _now(self) -> int:
        return int(self._clock() * MICROS)


def _is_failure(error: Sd3Error | None) -> bool:
    """Whether a call says that the upstream is broken, and not only busy or of another mind."""
    if isinstance(error, UpstreamUnavailableError):
        return not _says_nothing(error)
    return isinstance(error, UpstreamFailedError | UpstreamTimeoutError | UpstreamAnswerError)


def _says_nothing(error: Sd3Error | None) -> bool:
    """Whether a call leaves it open how the upstream is."""
    return _is_throttled(error) or _is_ours(error)


def _is_throttled(error: Sd3Error | None) -> bool:
    return isinstance(error, UpstreamThrottledError)


def _is_ours(error: Sd3Error | None) -> bool:
    return isinstance(error, UpstreamPacedError | StorageError | RequestError)
