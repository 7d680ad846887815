"""The rate limiter and circuit breaker of one upstream, which all functions share in one item.

Slots: a caller moves `next_slot_at` on by one slot for each of its calls, in one conditional
write. The first caller after idle time records that time in `idle_since` and `idle_until`.

Circuit breakers: `failed` has the jobs whose calls failed since the last success. When they open a
breaker (see breaker.py), no caller that it stops may call until its time. Then one caller becomes
the probe: it moves that time past its own call. Its success closes all breakers. Its failure
doubles the time. A probe that dies blocks the others for PROBE_SECONDS.

Leases: where concurrency is bounded, each call has a lease in `leases`, with its expiry.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from sd3.domain.generation import NO_ORIGIN, TaskOrigin
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
from sd3.upstreams.rate_limit.breaker import (
    MAX_EVIDENCE,
    Breaker,
    breakers_of,
    evidence_of,
    open_seconds,
    opened_by,
)
from sd3.upstreams.rate_limit.schedule import (
    MICROSECONDS,
    LimiterState,
    RateBounds,
    grantable,
    start_times,
)
from sd3.upstreams.rate_limit.table import ChangedError, RateLimitTable, Update, acquire_update

FULL_SECONDS: Final = 2
"""Retry-After when all leases are taken."""

MAX_PAUSE_SECONDS: Final = 600
"""The longest pause that an upstream's Retry-After can cause."""

STEP_TIME_SECONDS: Final = 3600
"""How long a measured time of a step counts."""

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

    def acquire(self, calls: int, *, patience: float, origin: TaskOrigin = NO_ORIGIN) -> Permit:
        """Reserve slots for up to `calls` calls, each within `patience` seconds.

        `origin` is the job that is called for. Raises UpstreamRateLimitedError when there is no
        such slot, and StorageError.
        """
        known: LimiterState | None = None
        for _ in range(_TRIES):
            now = self._now()
            latest = now + int(patience * MICROSECONDS)
            state = known or self._guess(now)
            count = grantable(state, self._bounds, calls, now=now, latest=latest)
            open_until = _open_until(state, origin)
            if open_until:
                count = min(count, 1)
            if count <= 0 or open_until > now:
                if known:
                    self._observe(known, now)
                raise self._rejection(state, now, latest, open_until=open_until)
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
                        origin=origin,
                    )
                )
            except ChangedError as failed:
                known = failed.state
                continue
            self._observe(found, now)
            self._next_slot_at = max(found.next_slot_at, now) + count * self._bounds.slot
            begins = start_times(found, self._bounds, count, now=now)
            return self._permit(found, begins, lease_holder, origin)
        raise UpstreamRateLimitedError("Too many calls are to be made at once.", retry_after=1)

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> None:
        """Record how the calls ended. Raises nothing: an error or a bug is logged."""
        pause = max(map(self._pause, errors), default=0)
        rest = max(map(_rest, errors), default=0)
        try:
            if pause:
                self._pause_until(self._now() + int(pause * MICROSECONDS))
            if all(map(_is_failure, errors)):
                if not permit.origin.is_retry:
                    self._count_failure(permit, rest=rest)
            elif permit.troubles and not all(map(_is_inconclusive, errors)):
                self._table.update(Update(removes=list(permit.troubles)))
            if permit.lease_holder:
                names = [
                    f"leases.{permit.lease_holder}{number}" for number in range(len(permit.waits))
                ]
                self._table.update(Update(removes=names))
        except Exception as error:
            _logger.warning(
                "rate limiter not updated", exc_info=error, extra={"upstream": self._table.name}
            )

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

    def _observe(self, state: LimiterState, now: int) -> None:
        self._is_busy = state.next_slot_at > max(self._next_slot_at, now)
        self._next_slot_at = max(self._next_slot_at, state.next_slot_at)

    def _guess(self, now: int) -> LimiterState:
        """Guess the item's state; the write fails if the guess is wrong."""
        return LimiterState(next_slot_at=max(self._next_slot_at, now + 1 if self._is_busy else 0))

    def _permit(
        self, found: LimiterState, begins: Sequence[int], lease_holder: str, origin: TaskOrigin
    ) -> Permit:
        now = self._now()  # the write took its time
        probed = [one.until for one in breakers_of(origin) if one.until in found.breakers]
        return Permit(
            tuple(max(0, at - now) / MICROSECONDS for at in begins),
            lease_holder=lease_holder,
            origin=origin,
            troubles=(*(["failed"] if found.failed else []), *sorted(found.breakers)),
            probed=() if origin.is_retry else tuple(probed),
        )

    def _rejection(
        self, state: LimiterState, now: int, latest: int, *, open_until: int
    ) -> UpstreamRateLimitedError:
        """Return the error that says why no call may start now, and when to retry."""
        if open_until > now:
            seconds = (open_until - now) / MICROSECONDS
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
        """Return for how many seconds an error pauses all callers: a 429 is about all of them."""
        if not isinstance(error, UpstreamThrottledError):
            return 0.0
        seconds = error.retry_after
        return min(self._bounds.pause_seconds if seconds is None else seconds, MAX_PAUSE_SECONDS)

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

    def _count_failure(self, permit: Permit, *, rest: float) -> None:
        """Record a failed job as evidence, and open the breakers that it opens.

        While a breaker of the call is open, only its probe's failure counts. Other calls began
        before it opened. They would count one outage many times. `rest` is for how many seconds the
        upstream does not want to be called for this client.
        """
        breakers = {one.until: one for one in breakers_of(permit.origin)}
        for name in permit.probed:
            self._open(breakers[name], is_probe=True, rest=rest)
        job = evidence_of(permit.origin)
        closed = [f"attribute_not_exists({name})" for name in breakers if name not in permit.probed]
        count = Update(
            adds=["failed :job"],
            conditions=[*closed, "(attribute_not_exists(failed) OR size(failed) < :most)"],
            values={":job": {job}, ":most": MAX_EVIDENCE},
        )
        try:
            evidence = self._table.update(count).failed | {job}
        except ChangedError:
            return  # meanwhile another caller has opened the breaker
        opened = set(opened_by(evidence, permit.origin))
        if rest:
            opened.add(breakers_of(permit.origin)[1])
        for breaker in opened:
            if breaker.until not in permit.probed:
                self._open(breaker, is_probe=False, rest=rest)

    def _open(self, breaker: Breaker, *, is_probe: bool, rest: float) -> None:
        """Open a breaker, for twice as long as the last time."""
        conditions = [] if is_probe else [f"attribute_not_exists({breaker.until})"]
        count = Update(adds=[f"{breaker.times} :one"], conditions=conditions, values={":one": 1})
        try:
            times = self._table.update(count).breakers.get(breaker.times, 0)
            seconds = max(open_seconds(times), rest)
            until = Update(sets=[f"{breaker.until} = :until"], conditions=conditions)
            until.values[":until"] = self._now() + int(seconds * MICROSECONDS)
            self._table.update(until)
        except ChangedError:
            return  # meanwhile another caller has opened it

    def _now(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _open_until(state: LimiterState, origin: TaskOrigin) -> int:
    """Return until when a breaker stops the calls for a job; 0 when all are closed."""
    return max(state.breakers.get(breaker.until, 0) for breaker in breakers_of(origin))


def _rest(error: Sd3Error | None) -> float:
    """Return for how many seconds an error stops its client: a 503 is perhaps about its job."""
    if not isinstance(error, UpstreamUnavailableError) or _is_inconclusive(error):
        return 0.0
    return min(error.retry_after or 0.0, MAX_PAUSE_SECONDS)


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
