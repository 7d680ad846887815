"""High bounds: their parts in several items, and what all items share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rate_limit_item import RateLimitItems
from sd3.domain.generation import TaskOrigin
from sd3.errors import UpstreamFailedError, UpstreamRateLimitedError, UpstreamThrottledError
from sd3.settings import Rate
from sd3.upstreams.rate_limit.breaker import FAILURES, OPEN_SECONDS
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.memory import KNOWN_SECONDS, TROUBLE_SECONDS
from sd3.upstreams.rate_limit.schedule import SHARD_LEASES, RateBounds
from tests.support.factories.limiters import Limiters, fail

HIGH = Rate(2000, 1)
SHARDS = len(RateBounds(rate=HIGH).shards())


def job(number: int) -> TaskOrigin:
    return TaskOrigin("client", f"job-{number}")


def granted(limiter: SharedRateLimiter, *, patience: float, jobs: int) -> int:
    """Count the calls that may be made when so many jobs want 16 each."""
    count = 0
    for number in range(jobs):
        try:
            count += len(limiter.acquire(16, patience=patience, origin=job(number)).waits)
        except UpstreamRateLimitedError:
            continue
    return count


@given(
    rate=st.none() | st.builds(Rate, st.integers(1, 999_999), st.integers(1, 99_999)),
    concurrency=st.none() | st.integers(1, 99_999),
)
def test_the_parts_of_bounds_are_whole_and_their_sum_is_exact(
    rate: Rate | None, concurrency: int | None
) -> None:
    parts = RateBounds(rate=rate, concurrency=concurrency, pause_seconds=7).shards()
    assert {part.pause_seconds for part in parts} == {7}
    if rate:
        calls = [part.rate.calls for part in parts if part.rate and part.rate.calls >= 1]
        assert (len(calls), sum(calls)) == (len(parts), rate.calls)
        assert {part.rate.seconds for part in parts if part.rate} == {rate.seconds}
    if concurrency:
        leases = [part.concurrency for part in parts if part.concurrency]
        assert (len(leases), sum(leases)) == (len(parts), concurrency)


@pytest.mark.parametrize(
    ("rate", "concurrency", "count"),
    [
        (None, None, 1),
        (Rate(150, 10), None, 1),
        (Rate(250, 1), None, 1),
        (Rate(251, 1), None, 2),
        (Rate(2000, 1), None, 8),
        (Rate(999_999, 1), None, 40),
        (None, 100, 1),
        (None, 101, 2),
        (Rate(150, 10), 1000, 1),
        (Rate(2000, 1), 5, 1),
        (Rate(2000, 1), 300, 3),
        (Rate(250, 1), 1000, 8),
    ],
)
def test_only_high_bounds_have_several_items(
    rate: Rate | None, concurrency: int | None, count: int
) -> None:
    assert len(RateBounds(rate=rate, concurrency=concurrency).shards()) == count


def test_the_first_item_has_the_upstreams_name(limiters: Limiters, items: RateLimitItems) -> None:
    granted(limiters.make(HIGH), patience=0, jobs=200)
    assert set(items.by_id) == {"fake", *(f"fake#{number}" for number in range(1, SHARDS))}


def test_a_caller_that_finds_an_item_full_goes_to_another(limiters: Limiters) -> None:
    fleet = [limiters.make(Rate(500, 1)) for _ in range(3)]
    permits = [limiter.acquire(200, patience=0, origin=job(1)) for limiter in fleet]
    assert [len(permit.waits) for permit in permits] == [200, 200, 36]


def test_a_process_that_found_the_items_full_does_not_ask_again_at_once(
    limiters: Limiters, items: RateLimitItems
) -> None:
    granted(limiters.make(HIGH), patience=1, jobs=1000)
    limiter = limiters.make(HIGH)
    assert granted(limiter, patience=1, jobs=1) == 0
    writes = items.writes
    assert granted(limiter, patience=1, jobs=100) == 0
    assert items.writes == writes
    limiters.now += 1
    assert granted(limiter, patience=1, jobs=1) == 16


def test_a_429_pauses_all_items_and_one_of_many_tells_them(
    limiters: Limiters, items: RateLimitItems
) -> None:
    fleet = [limiters.make(HIGH, pause_seconds=7) for _ in range(20)]
    permits = [one.acquire(1, patience=0, origin=job(1)) for one in fleet]
    writes = items.writes
    for one, permit in zip(fleet, permits, strict=True):
        limiters.now += 0.01
        one.release(permit, [UpstreamThrottledError("429")])
    assert items.writes - writes <= 20 + 2 * SHARDS
    late = limiters.now - 0.2
    for limiter in (*fleet[:2], limiters.make(HIGH)):
        for number in range(20):
            assert (
                limiter.acquire(1, patience=9, origin=job(number)).waits[0]
                >= late + 7 - limiters.now
            )


def test_a_later_429_lengthens_the_pause(limiters: Limiters) -> None:
    one, other = limiters.make(HIGH), limiters.make(HIGH)
    permits = [one.acquire(1, patience=0) for _ in range(2)]
    for permit, seconds in zip(permits, (2, 8), strict=True):
        one.release(permit, [UpstreamThrottledError("429", retry_after=seconds)])
    assert {other.acquire(1, patience=9, origin=job(n)).waits[0] > 7.9 for n in range(20)} == {True}


def test_a_breaker_stops_the_callers_of_all_items(limiters: Limiters) -> None:
    failing, knowing = limiters.make_doubting(HIGH), limiters.make(HIGH)
    assert granted(knowing, patience=0, jobs=1) == 16
    fail(failing, FAILURES)
    assert granted(limiters.make(HIGH), patience=20, jobs=50) == 0
    limiters.now += KNOWN_SECONDS
    probe = knowing.acquire(16, patience=20, origin=job(1))
    assert len(probe.waits) == 1
    assert granted(failing, patience=20, jobs=50) == 0
    knowing.release(probe, [None])
    limiters.now += TROUBLE_SECONDS
    assert granted(failing, patience=20, jobs=1) == 16


def test_a_failed_probe_of_a_high_bound_doubles_the_rest(limiters: Limiters) -> None:
    limiter = limiters.make_doubting(HIGH)
    fail(limiter, FAILURES)
    limiters.now += OPEN_SECONDS
    fail(limiter)
    limiters.now += 2 * OPEN_SECONDS - 0.001
    assert granted(limiter, patience=20, jobs=1) == 0
    limiters.now += 0.001
    limiter.release(
        limiter.acquire(1, patience=20, origin=job(1)), [UpstreamFailedError("It broke.")]
    )
    limiters.now += 4 * OPEN_SECONDS - 0.001
    assert granted(limiter, patience=20, jobs=1) == 0


def test_a_high_bound_of_leases_is_exact_and_no_item_is_large(
    limiters: Limiters, items: RateLimitItems
) -> None:
    limiter = limiters.make(None, concurrency=250)
    permits = [limiter.acquire(1, patience=20, origin=job(number)) for number in range(250)]
    assert max(len(item.values["leases"]) for item in items.by_id.values()) <= SHARD_LEASES
    with pytest.raises(UpstreamRateLimitedError):
        limiters.make(None, concurrency=250).acquire(1, patience=20, origin=job(1))
    limiter.release(permits[100], [None])
    assert len(limiters.make(None, concurrency=250).acquire(9, patience=20).waits) == 1
