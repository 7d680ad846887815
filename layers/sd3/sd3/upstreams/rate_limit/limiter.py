"""The rate limiter and circuit breaker of one upstream, which all functions share.

Slots: a caller moves `next_slot_at` on by one slot for each of its calls, in one conditional
write. The first caller after idle time records that time in `idle_since` and `idle_until`. Where
the bounds are high, they are divided among several items. A caller takes its slots from one.

Circuit breakers: `failed` has jobs whose calls failed since the last success. When they open a
breaker (see breaker.py), no caller that it stops may call until its time. Then one caller becomes
the probe: it moves that time past its own call. Its success closes all breakers. Its failure
doubles the time. A probe that dies blocks the others for PROBE_SECONDS. All of this is in the first
item. Callers that need not write to it look at it from time to time (see memory.py).

Leases: where concurrency is bounded, each call has a lease in `leases`, with its expiry.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from zlib import crc32

from sd3.domain.generation import NO_ORIGIN, TaskOrigin
from sd3.errors import Sd3Error, UpstreamRateLimitedError
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.breaker import (
    MAX_EVIDENCE,
    Breaker,
    breakers_of,
    evidence_of,
    open_seconds,
    opened_by,
)
from sd3.upstreams.rate_limit.memory import RememberedItem
from sd3.upstreams.rate_limit.outcomes import (
    is_failure,
    is_inconclusive,
    pause_seconds,
    rest_seconds,
)
from sd3.upstreams.rate_limit.schedule import (
    MICROSECONDS,
    LimiterState,
    RateBounds,
    grantable,
    is_idle,
    start_times,
)
from sd3.upstreams.rate_limit.table import ChangedError, RateLimitTable, Update, acquire_update

FULL_SECONDS: Final = 2
"""Retry-After when all leases are taken."""

STEP_TIME_SECONDS: Final = 3600
"""How long a measured time of a step counts."""

_TRIES: Final = 8

_CHOICES: Final = 2
"""Items that a caller asks for a slot. When they have none, the others have hardly any."""

_CROWDED_SHARE: Final = 0.05
"""For so much of a caller's patience, a process does not ask again after these were full."""

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
        self._bounds, self._clock = bounds, clock
        self._items = [
            RememberedItem(table.shard(number), part) for number, part in enumerate(bounds.shards())
        ]
        self._home = self._items[0]
        self._looks = bounds.are_none or len(self._items) > 1
        """Whether most calls do not write to the first item, and so do not see it."""
        self._is_busy = False
        """Whether other callers had reserved future slots at the last read of any item."""
        self._crowded_until = 0
        """Until when the items are taken to be full."""
        self._has_failed = False
        """Whether this process' last call failed, so that its next failure counts."""

    def acquire(self, calls: int, *, patience: float, origin: TaskOrigin = NO_ORIGIN) -> Permit:
        """Reserve slots for up to `calls` calls, each within `patience` seconds.

        `origin` is the job that is called for. Raises UpstreamRateLimitedError when there is no
        such slot, and StorageError.
        """
        known: dict[int, LimiterState] = {}
        latest = self._now() + int(patience * MICROSECONDS)
        for _ in range(_TRIES + len(self._items) - 1):
            now = self._now()
            health = self._health(now)
            open_until = _open_until(health, origin)
            if open_until > now:
                raise _resting(open_until - now)
            number, state = 0, health
            if not open_until and not self._bounds.are_none:
                number, state = self._roomiest(known, calls, now=now, latest=latest, origin=origin)
            item, wanted = self._items[number], 1 if open_until else calls
            count = grantable(state, item.bounds, wanted, now=now, latest=latest)
            if count <= 0:
                self._note_full(known, now, latest)
                raise _rejection(state, now, latest)
            idle = is_idle(state, item.bounds, now)
            if self._bounds.are_none and (not open_until or origin.is_retry):
                begins = start_times(state, item.bounds, count, now=now, idle=idle)
                return self._permit(health, begins, origin)
            lease_holder = f"p{secrets.token_hex(6)}" if item.bounds.concurrency else ""
            try:
                found = item.table.update(
                    acquire_update(
                        state,
                        item.bounds,
                        count,
                        now=now,
                        latest=latest,
                        lease_holder=lease_holder,
                        origin=origin,
                    )
                )
            except ChangedError as failed:
                known[number] = failed.state
                if not number:
                    item.remember(failed.state, now)
                continue
            self._is_busy = item.observe(found, now)
            begin = now if idle else found.next_slot_at
            item.hold_back(begin + count * item.bounds.slot)
            if not number:
                health = found
                item.remember(found, now)
            begins = start_times(found, item.bounds, count, now=now, idle=idle)
            return self._permit(health, begins, origin)._replace(
                lease_holder=lease_holder, shard=number
            )
        raise UpstreamRateLimitedError("Too many calls are to be made at once.", retry_after=1)

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> None:
        """Record how the calls ended. Raises nothing: an error or a bug is logged."""
        try:
            try:
                self._record(permit, errors)
            finally:
                self._return_leases(permit)
        except Exception as error:
            _logger.warning(
                "rate limiter not updated",
                exc_info=error,
                extra={"upstream": self._home.table.name},
            )

    def seconds_per_step(self) -> float | None:
        """Read the time of one step of one image that was measured in the last hour, if any.

        Raises StorageError.
        """
        state = self._home.table.read()
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
            self._home.table.update(measured)
        except ChangedError:
            return
        except Exception as error:
            _logger.warning("time not recorded", exc_info=error)

    def _health(self, now: int) -> LimiterState:
        """Return what is known of the first item. Where it is nothing, the write finds out."""
        state = self._home.recall(now)
        if state is None and self._looks:
            state = self._home.look(now)
        return state or LimiterState()

    def _roomiest(
        self,
        known: Mapping[int, LimiterState],
        calls: int,
        *,
        now: int,
        latest: int,
        origin: TaskOrigin,
    ) -> tuple[int, LimiterState]:
        """Return the item that grants most calls by its known or guessed state.

        Among equal ones, it is one that is known.
        """
        numbers = self._candidates(now, origin)
        states = {
            one: known.get(one) or self._items[one].guess(now, busy=self._is_busy)
            for one in numbers
        }

        def merit(number: int) -> tuple[int, bool]:
            state, bounds = states[number], self._items[number].bounds
            return grantable(state, bounds, calls, now=now, latest=latest), number in known

        best = max(numbers, key=merit)
        return best, states[best]

    def _candidates(self, now: int, origin: TaskOrigin) -> list[int]:
        """Return the items that are asked, which begin at another for each job.

        They are few, so that a crowd is not multiplied by the number of items. A lease cannot be
        waited for. So all items are asked for one, if they were not full a moment ago.
        """
        count = len(self._items)
        is_crowded = now < self._crowded_until
        most = 1 if is_crowded else count if self._bounds.concurrency else _CHOICES
        first = crc32(origin.job_id.encode())
        return [(first + step) % count for step in range(min(most, count))]

    def _note_full(self, known: Mapping[int, LimiterState], now: int, latest: int) -> None:
        for number, state in known.items():
            self._is_busy = self._items[number].observe(state, now)
        if known and len(self._items) > 1:
            crowded = int((latest - now) * _CROWDED_SHARE)
            self._crowded_until = now + crowded
            if not self._bounds.concurrency:
                for item in self._items:
                    item.hold_back(latest + crowded)

    def _permit(self, health: LimiterState, begins: Sequence[int], origin: TaskOrigin) -> Permit:
        now = self._now()  # a write took its time
        probed = [one.until for one in breakers_of(origin) if one.until in health.breakers]
        may_have_failed = health.failed or self._has_failed
        return Permit(
            tuple(max(0, at - now) / MICROSECONDS for at in begins),
            origin=origin,
            troubles=(*(["failed"] if may_have_failed else []), *sorted(health.breakers)),
            probed=() if origin.is_retry else tuple(probed),
        )

    def _record(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> None:
        default = self._bounds.pause_seconds
        pause = max((pause_seconds(error, default=default) for error in errors), default=0)
        if pause:
            self._pause_until(self._now() + int(pause * MICROSECONDS))
        if all(map(is_failure, errors)):
            self._home.forget()
            if not permit.origin.is_retry:
                is_first, self._has_failed = not self._has_failed, True
                rest = max(map(rest_seconds, errors), default=0)
                self._count_failure(permit, is_first=is_first, rest=rest)
        elif not all(map(is_inconclusive, errors)):
            self._has_failed = False
            if permit.troubles:
                self._home.forget()
                self._home.table.update(Update(removes=list(permit.troubles)))

    def _return_leases(self, permit: Permit) -> None:
        if permit.lease_holder:
            names = [f"leases.{permit.lease_holder}{number}" for number in range(len(permit.waits))]
            self._items[permit.shard].table.update(Update(removes=names))

    def _pause_until(self, until: int) -> None:
        """Delay all slots to `until` or later.

        Of all calls that end with a 429 within a second, one tells several items.
        """
        if len(self._items) > 1:
            until = -(-until // MICROSECONDS) * MICROSECONDS
            announcement = Update(
                sets=["paused_until = :until"],
                conditions=["(attribute_not_exists(paused_until) OR paused_until < :until)"],
                values={":until": until},
            )
            try:
                self._home.table.update(announcement)
            except ChangedError:
                for item in self._items:
                    item.hold_back(until)
                return
        for item in self._items:
            _hold_back(item, until)

    def _count_failure(self, permit: Permit, *, is_first: bool, rest: float) -> None:
        """Record a failed job as evidence, and open the breakers that it opens.

        The first failure after another result of this process is none: it may be an exception.
        While a breaker of the call is open, only its probe's failure counts. Other calls began
        before it opened. They would count one outage many times. `rest` is for how many seconds the
        upstream does not want to be called for this client.
        """
        breakers = {one.until: one for one in breakers_of(permit.origin)}
        for name in permit.probed:
            self._reopen(breakers[name], rest=rest)
        opened: set[Breaker] = set()
        if not is_first:
            closed = [name for name in breakers if name not in permit.probed]
            evidence = self._add_evidence(permit.origin, closed=closed)
            if not evidence:
                return  # meanwhile another caller has opened the breaker
            opened.update(opened_by(evidence, permit.origin))
        if rest:
            opened.add(breakers_of(permit.origin)[1])
        for breaker in opened:
            if breaker.until not in permit.probed:
                self._open(breaker, rest=rest)

    def _add_evidence(self, origin: TaskOrigin, *, closed: Sequence[str]) -> frozenset[str]:
        """Record a failed job, and return all evidence; none if a breaker is not closed."""
        job = evidence_of(origin)
        count = Update(
            adds=["failed :job"],
            conditions=[
                *(f"attribute_not_exists({name})" for name in closed),
                "(attribute_not_exists(failed) OR size(failed) < :most)",
            ],
            values={":job": {job}, ":most": MAX_EVIDENCE},
        )
        try:
            return self._home.table.update(count).failed | {job}
        except ChangedError as failed:
            self._home.remember(failed.state, self._now())
            return frozenset()

    def _open(self, breaker: Breaker, *, rest: float) -> None:
        """Open a breaker that is closed, unless another caller does so meanwhile."""
        opening = self._rest_update(breaker, max(open_seconds(0), rest))
        opening.sets.append(f"{breaker.times} = :one")
        opening.values[":one"] = 1
        opening.conditions.append(f"attribute_not_exists({breaker.until})")
        with suppress(ChangedError):
            self._home.table.update(opening)

    def _reopen(self, breaker: Breaker, *, rest: float) -> None:
        """Open a breaker after its probe, for twice as long as the last time."""
        count = Update(adds=[f"{breaker.times} :one"], values={":one": 1})
        times = self._home.table.update(count).breakers.get(breaker.times, 0)
        self._home.table.update(self._rest_update(breaker, max(open_seconds(times), rest)))

    def _rest_update(self, breaker: Breaker, seconds: float) -> Update:
        until = self._now() + int(seconds * MICROSECONDS)
        return Update(sets=[f"{breaker.until} = :until"], values={":until": until})

    def _now(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _open_until(state: LimiterState, origin: TaskOrigin) -> int:
    """Return until when a breaker stops the calls for a job; 0 when all are closed."""
    return max(state.breakers.get(breaker.until, 0) for breaker in breakers_of(origin))


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


def _hold_back(item: RememberedItem, until: int) -> None:
    """Delay an item's slots to `until` or later."""
    forget_idle_time = Update(removes=["idle_since", "idle_until"])
    hold_back = Update(
        sets=["next_slot_at = :until"],
        removes=forget_idle_time.removes,
        conditions=["(attribute_not_exists(next_slot_at) OR next_slot_at < :until)"],
        values={":until": until},
    )
    try:
        item.table.update(hold_back)
    except ChangedError as failed:
        item.hold_back(failed.state.next_slot_at)
        if item.bounds.slot:  # what could begin earlier is only idle time
            item.table.update(forget_idle_time)
    else:
        item.hold_back(until)
