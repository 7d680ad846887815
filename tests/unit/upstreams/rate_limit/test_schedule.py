"""However a fleet calls, no window has more calls than it allows; and hardly fewer, if it can."""

from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rate_limit_item import RateLimitItems
from sd3.domain.generation import TaskOrigin
from sd3.errors import UpstreamRateLimitedError
from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.schedule import (
    MICROSECONDS,
    LimiterState,
    RateBounds,
    grantable,
    is_idle,
    start_times,
)
from tests.support.factories.limiters import STABILITY, Limiters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = 1_800_000_000 * MICROSECONDS
LOW_RATES = st.builds(Rate, st.integers(1, 12) | st.integers(1, 200), st.integers(1, 120))
HIGH_RATES = st.builds(Rate, st.integers(251, 600), st.just(1))
"""Of which each has two or three items."""
RATES = LOW_RATES | HIGH_RATES


class Acquisition(NamedTuple):
    """Of one of the fleet's processes; times are shares of the window."""

    gap: float | None
    """Since the previous acquisition; None means until its slots are over."""
    calls: int
    patience: float
    process: int
    late: int
    """Which of its calls come as late as is allowed for, one bit each."""


SHARES = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 0.1) | st.floats(0, 2)
ACQUISITIONS = st.lists(
    st.builds(
        Acquisition,
        st.none() | SHARES,
        st.integers(1, 16),
        SHARES,
        st.integers(0, 2),
        st.integers(0, 2**16),
    ),
    max_size=40,
)


def in_memory() -> Limiters:
    return Limiters(cast("DynamoDBClient", RateLimitItems()))


class Fleet:
    """Three processes that acquire slots, and the times of their calls."""

    def __init__(self, rate: Rate) -> None:
        self.limiters = in_memory()
        self.processes = [self.limiters.make(rate) for _ in range(3)]
        [part, *_] = RateBounds(rate=rate).shards()
        self.rate, self.slot = rate, part.slot / MICROSECONDS
        self.late = min(0.25, 0.04 * rate.seconds)
        self.over = self.limiters.now
        self.jobs = 0

    def acquire_update(self, acquisition: Acquisition) -> Permit:
        """Raises UpstreamRateLimitedError."""
        gap = acquisition.gap and acquisition.gap * self.rate.seconds
        self.limiters.now = (
            max(self.limiters.now, self.over) if gap is None else self.limiters.now + gap
        )
        patience = acquisition.patience * self.rate.seconds
        self.jobs += 1
        permit = self.processes[acquisition.process].acquire(
            acquisition.calls, patience=patience, origin=TaskOrigin("client", str(self.jobs))
        )
        self.over = max(self.over, self.limiters.start_times(permit)[-1] + self.slot)
        return permit

    def arrivals(self, acquisition: Acquisition) -> list[float]:
        """When its calls reach the upstream, late ones included."""
        try:
            begins = self.limiters.start_times(self.acquire_update(acquisition))
        except UpstreamRateLimitedError:
            return []
        return [at + self.late * (acquisition.late >> index & 1) for index, at in enumerate(begins)]


@settings(deadline=None)
@given(
    rate=RATES,
    acquisitions=ACQUISITIONS,
)
def test_no_window_has_more_calls_than_it_allows_even_when_they_come_late(
    rate: Rate, acquisitions: list[Acquisition]
) -> None:
    fleet = Fleet(rate)
    arrivals = sorted(at for acquisition in acquisitions for at in fleet.arrivals(acquisition))
    too_many = zip(arrivals, arrivals[rate.calls :], strict=False)
    assert all(last - first >= rate.seconds - 1e-6 for first, last in too_many)


@settings(deadline=None)
@given(rate=RATES, acquisitions=ACQUISITIONS)
def test_no_caller_waits_longer_than_its_patience(
    rate: Rate, acquisitions: list[Acquisition]
) -> None:
    fleet = Fleet(rate)
    for acquisition in acquisitions:
        with suppress(UpstreamRateLimitedError):
            permit = fleet.acquire_update(acquisition)
            assert 1 <= len(permit.waits) <= acquisition.calls
            assert max(permit.waits) <= acquisition.patience * rate.seconds + 1e-6
            assert all(first <= second for first, second in pairwise(permit.waits))


@settings(deadline=None)
@given(rate=st.builds(Rate, st.integers(5, 100), st.integers(5, 120)), calls=st.integers(1, 16))
def test_a_backlog_uses_the_limit_up(rate: Rate, calls: int) -> None:
    limiters, created = in_memory(), 0
    limiter = limiters.make(rate)
    begin = limiters.now
    while limiters.now < begin + 5 * rate.seconds:
        permit = limiter.acquire(calls, patience=1000)
        created += len(permit.waits)
        limiters.now = limiters.start_times(permit)[-1]
    assert created * rate.seconds / rate.calls >= 0.95 * (limiters.now - begin)


def test_sixteen_calls_after_a_pause_wait_for_nothing() -> None:
    limiters = in_memory()
    assert limiters.make().acquire(16, patience=20).waits == (0,) * 16
    limiters.now += 2.5
    assert limiters.make().acquire(16, patience=20).waits == (0,) * 16


def test_sixteen_callers_after_a_pause_wait_for_nothing() -> None:
    limiters = in_memory()
    limiters.make().acquire(16, patience=20)
    limiters.now += 2.5
    assert [limiters.make().acquire(1, patience=20).waits for _ in range(16)] == [(0,)] * 16


@pytest.mark.parametrize("one_each", [True, False])
def test_what_a_pause_makes_up_for_is_no_more_than_a_window(one_each: bool) -> None:
    limiters = in_memory()
    limiters.make(Rate(10, 60)).acquire(1, patience=0)
    limiters.now += 1000
    acquisitions = [
        limiters.make(Rate(10, 60)).acquire(1, patience=0) for _ in range(10 if one_each else 0)
    ]
    if not one_each:
        acquisitions = [limiters.make(Rate(10, 60)).acquire(16, patience=20)]
    assert sum(len(acquisition.waits) for acquisition in acquisitions) == 10
    with pytest.raises(UpstreamRateLimitedError):
        limiters.make(Rate(10, 60)).acquire(1, patience=0)


def test_a_caller_gets_as_many_slots_as_fit_its_patience() -> None:
    bounds = RateBounds(rate=STABILITY)
    state = LimiterState(next_slot_at=NOW + 1 * MICROSECONDS)
    count = grantable(state, bounds, 16, now=NOW, latest=NOW + 1 * MICROSECONDS + 3 * bounds.slot)
    assert count == 4
    begins = start_times(state, bounds, count, now=NOW, idle=False)
    assert begins == tuple(NOW + MICROSECONDS + index * bounds.slot for index in range(4))


@pytest.mark.parametrize(("next_slot_at", "count"), [(0, 16), (NOW + 5, 16), (NOW + 6, 0)])
def test_without_a_rate_only_a_pause_is_waited_for(next_slot_at: int, count: int) -> None:
    bounds = RateBounds()
    assert (bounds.slot, bounds.window) == (0, 0)
    state = LimiterState(next_slot_at=next_slot_at)
    assert grantable(state, bounds, 16, now=NOW, latest=NOW + 5) == count
    idle = is_idle(state, bounds, NOW)
    assert start_times(state, bounds, 2, now=NOW, idle=idle) == (max(next_slot_at, NOW),) * 2


def test_live_leases_reduce_the_calls_and_expired_ones_do_not() -> None:
    state = LimiterState(leases={"a": NOW + 1, "b": NOW})
    assert grantable(state, RateBounds(concurrency=4), 16, now=NOW, latest=NOW) == 3
