"""The circuit breakers of one upstream, in the first item of its limiter.

`failed` has jobs whose calls failed since the last success. When they open a breaker (see
breaker.py), no caller that it stops may call until its time. Then one caller becomes the probe: it
moves that time past its own call. Its success closes all breakers. Its failure doubles the time. A
probe that dies blocks the others for PROBE_SECONDS.

Where callers need not write to the first item, they look at it. They look again after some time,
and after a failure of their own. So when an upstream goes down, each process calls it about once
more.
"""

from collections.abc import Callable, Sequence

from sd3.domain.generation import TaskOrigin
from sd3.errors import Sd3Error
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.breaker import (
    EVERYBODY,
    MAX_EVIDENCE,
    Breaker,
    breakers_of,
    evidence_of,
    open_seconds,
    opened_by,
)
from sd3.upstreams.rate_limit.memory import RememberedItem
from sd3.upstreams.rate_limit.outcomes import is_failure, is_inconclusive, rest_seconds
from sd3.upstreams.rate_limit.schedule import MICROSECONDS, LimiterState
from sd3.upstreams.rate_limit.table import ChangedError, Update


class UpstreamHealth:
    """Says whom the breakers stop, and changes them by how calls ended."""

    def __init__(self, item: RememberedItem, *, looks: bool, now: Callable[[], int]) -> None:
        """`looks` is whether callers need not write to the item, and so do not see it."""
        self._item, self._looks, self._now = item, looks, now
        self._has_failed = False
        """Whether this process' last call failed, so that its next failure counts."""

    def state(self, now: int) -> LimiterState:
        """Return what is known of the item. Where that is nothing, the caller's write finds out.

        Raises StorageError.
        """
        state = self._item.recall(now)
        if state is None and self._looks:
            state = self._item.look(now)
        return state or LimiterState()

    def admit(self, permit: Permit, state: LimiterState) -> Permit:
        """Note on a permit which breakers its call probes, and what its success removes."""
        may_have_failed = state.failed or self._has_failed
        probed = [one.until for one in breakers_of(permit.origin) if one.until in state.breakers]
        return permit._replace(
            troubles=(*(["failed"] if may_have_failed else []), *sorted(state.breakers)),
            probed=() if permit.origin.is_retry else tuple(probed),
        )

    def record(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> float:
        """Record how the calls of a permit ended. Raises StorageError.

        Returns for how many seconds this opened everybody's breaker; 0 if not.
        """
        if all(map(is_failure, errors)):
            self._item.forget()
            if not permit.origin.is_retry:
                is_first, self._has_failed = not self._has_failed, True
                rest = max(map(rest_seconds, errors), default=0)
                return self._count_failure(permit, is_first=is_first, rest=rest)
        elif not all(map(is_inconclusive, errors)):
            self._has_failed = False
            if permit.troubles:
                self._remove(permit.troubles)
        return 0.0

    def _remove(self, troubles: Sequence[str]) -> None:
        """Remove what is recorded of failures. It looks first: after an outage many want this."""
        self._item.forget()
        if self._item.look(self._now()).has_trouble:
            self._item.forget()
            self._item.table.update(Update(removes=list(troubles)))

    def _count_failure(self, permit: Permit, *, is_first: bool, rest: float) -> float:
        """Record a failed job as evidence, and open the breakers that it opens.

        Returns for how many seconds that opens everybody's breaker.

        The first failure after another result of this process is none: it may be an exception.
        While a breaker of the call is open, only its probe's failure counts. Other calls began
        before it opened. They would count one outage many times. `rest` is for how many seconds the
        upstream does not want to be called for this client.
        """
        breakers = {one.until: one for one in breakers_of(permit.origin)}
        seconds = {
            breakers[name]: self._reopen(breakers[name], rest=rest) for name in permit.probed
        }
        opened: set[Breaker] = set()
        if not is_first:
            closed = [name for name in breakers if name not in permit.probed]
            evidence = self._add_evidence(permit.origin, closed=closed)
            if not evidence:
                return 0.0  # meanwhile another caller has opened the breaker
            opened.update(opened_by(evidence, permit.origin))
        if rest:
            opened.add(breakers_of(permit.origin)[1])
        for breaker in opened:
            if breaker.until not in permit.probed:
                seconds[breaker] = self._open(breaker, rest=rest)
        return seconds.get(EVERYBODY, 0.0)

    def _add_evidence(self, origin: TaskOrigin, *, closed: Sequence[str]) -> frozenset[str]:
        """Record a failed job, and return all evidence; none if a breaker is not closed.

        It looks first. When many calls fail at once, most find the breaker open already.
        """
        state = self._item.table.read()
        if not state.breakers.keys().isdisjoint(closed):
            self._item.remember(state, self._now())
            return frozenset()
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
            return self._item.table.update(count).failed | {job}
        except ChangedError as failed:
            self._item.remember(failed.state, self._now())
            return frozenset()

    def _open(self, breaker: Breaker, *, rest: float) -> float:
        """Open a closed breaker, unless another caller does so meanwhile; return for how long."""
        seconds = max(open_seconds(0), rest)
        opening = self._rest_update(breaker, seconds)
        opening.sets.append(f"{breaker.times} = :one")
        opening.values[":one"] = 1
        opening.conditions.append(f"attribute_not_exists({breaker.until})")
        try:
            self._item.table.update(opening)
        except ChangedError:
            return 0.0
        return seconds

    def _reopen(self, breaker: Breaker, *, rest: float) -> float:
        """Open a breaker after its probe, twice as long as the last time; return for how long."""
        count = Update(adds=[f"{breaker.times} :one"], values={":one": 1})
        times = self._item.table.update(count).breakers.get(breaker.times, 0)
        seconds = max(open_seconds(times), rest)
        self._item.table.update(self._rest_update(breaker, seconds))
        return seconds

    def _rest_update(self, breaker: Breaker, seconds: float) -> Update:
        until = self._now() + int(seconds * MICROSECONDS)
        return Update(sets=[f"{breaker.until} = :until"], values={":until": until})


def open_until(state: LimiterState, origin: TaskOrigin) -> int:
    """Return until when a breaker stops the calls for a job; 0 when all are closed."""
    return max(state.breakers.get(breaker.until, 0) for breaker in breakers_of(origin))
