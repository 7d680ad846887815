"""What a process knows of an upstream without bounds, and what its calls cost at the table."""

from random import Random

import pytest

from benchmarks.rate_limit_item import RateLimitItem
from sd3.domain.generation import TaskOrigin
from sd3.errors import (
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamThrottledError,
)
from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.breaker import FAILURES, OPEN_SECONDS
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.memory import KNOWN_SECONDS, TROUBLE_SECONDS
from tests.support.factories.limiters import Limiters, fail, seconds_until_retry

BROKEN = UpstreamFailedError("It broke.")


def call(limiter: SharedRateLimiter, number: int, error: UpstreamFailedError | None) -> bool:
    """Call for a job of one of twenty clients; return whether the call was allowed."""
    origin = TaskOrigin(f"client-{number % 20}", f"job-{number}")
    try:
        permit = limiter.acquire(1, patience=20, origin=origin)
    except UpstreamRateLimitedError:
        return False
    limiter.release(permit, [error])
    return True


def succeed(limiter: SharedRateLimiter) -> Permit:
    permit = limiter.acquire(16, patience=20)
    limiter.release(permit, [None] * 16)
    return permit


def test_a_healthy_upstream_costs_one_look_in_a_while_and_no_write(
    limiters: Limiters, item: RateLimitItem
) -> None:
    limiter = limiters.make(None)
    for reads in (1, 2, 3):
        for _ in range(10):
            assert succeed(limiter).waits == (0,) * 16
            limiters.now += KNOWN_SECONDS / 10
        assert (item.reads, item.writes) == (reads, 0)


def test_a_process_that_knows_a_healthy_upstream_needs_no_table(
    limiters: Limiters, item: RateLimitItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        raise ConnectionError

    limiter = limiters.make(None)
    succeed(limiter)
    monkeypatch.setattr(item, "get_item", fails)
    succeed(limiter)
    limiters.now += KNOWN_SECONDS
    with pytest.raises(ConnectionError):
        limiter.acquire(1, patience=20)


def test_a_failure_makes_its_process_look_again(limiters: Limiters, item: RateLimitItem) -> None:
    limiter = limiters.make(None)
    fail(limiter)
    assert (item.reads, item.writes) == (1, 0), "a single failure is no evidence"
    fail(limiter)
    assert "failed" in item.values
    reads = item.reads
    limiter.acquire(1, patience=20)
    assert item.reads == reads + 1


@pytest.mark.parametrize("rate", [None, Rate(150, 10), Rate(2000, 1)])
def test_a_failure_between_successes_is_no_evidence(
    limiters: Limiters, item: RateLimitItem, rate: Rate | None
) -> None:
    limiter = limiters.make(rate)
    for number in range(10 * FAILURES):
        assert call(limiter, number, BROKEN if number % 2 else None)
    assert "failed" not in item.values


def test_a_success_after_a_failure_removes_the_evidence_of_others(
    limiters: Limiters, item: RateLimitItem
) -> None:
    one, other = limiters.make(None), limiters.make_doubting(None)
    fail(one)
    fail(other, FAILURES - 1)
    assert len(item.values["failed"]) == FAILURES - 1
    succeed(one)
    assert "failed" not in item.values


def test_a_process_that_sees_evidence_removes_it_by_its_success(
    limiters: Limiters, item: RateLimitItem
) -> None:
    fail(limiters.make_doubting(None), FAILURES - 1)
    new = limiters.make(None)
    succeed(new)
    assert "failed" not in item.values
    writes = item.writes
    succeed(new)
    assert item.writes == writes


def test_each_process_makes_about_one_call_in_an_outage_and_all_come_back(
    limiters: Limiters,
) -> None:
    fleet = [limiters.make(None) for _ in range(400)]
    for limiter in fleet:
        succeed(limiter)
    numbers = iter(range(10**6))
    rounds = [sum(call(one, next(numbers), BROKEN) for one in fleet) for _ in range(3)]
    assert rounds == [400, FAILURES, 0]
    limiters.now += OPEN_SECONDS
    assert call(fleet[0], next(numbers), None), "the probe"
    limiters.now += TROUBLE_SECONDS
    assert all(call(one, next(numbers), None) for one in fleet)


def test_callers_that_are_refused_ask_the_table_once_in_a_while(
    limiters: Limiters, item: RateLimitItem
) -> None:
    fail(limiters.make_doubting(None), FAILURES)
    limiter, writes, reads = limiters.make(None), item.writes, item.reads
    for _ in range(40):
        assert not call(limiter, 1, None)
        limiters.now += TROUBLE_SECONDS / 10
    assert (item.writes, item.reads) == (writes, reads + 4)


def test_a_429_holds_back_at_once_who_does_not_know_the_upstream_and_later_all(
    limiters: Limiters,
) -> None:
    one, knowing, new = (limiters.make(None) for _ in range(3))
    succeed(knowing)
    one.release(one.acquire(1, patience=20), [UpstreamThrottledError("429", retry_after=60)])
    assert seconds_until_retry(one) == seconds_until_retry(new) == pytest.approx(55)
    knowing.acquire(1, patience=20)
    limiters.now += KNOWN_SECONDS
    assert knowing.acquire(1, patience=40).waits == (60 - KNOWN_SECONDS,)


def test_a_429_of_its_own_holds_a_process_back_for_as_long_as_others_are(
    limiters: Limiters,
) -> None:
    one, knowing = limiters.make(None), limiters.make(None)
    permit = knowing.acquire(1, patience=20)
    one.release(one.acquire(1, patience=20), [UpstreamThrottledError("429", retry_after=60)])
    knowing.release(permit, [UpstreamThrottledError("429", retry_after=2)])
    assert knowing.acquire(1, patience=60).waits == (60,)


@pytest.mark.parametrize("share", [0.01, 0.05])
@pytest.mark.parametrize("rate", [None, Rate(6000, 1)])
def test_an_upstream_that_fails_now_and_then_is_never_given_up(
    limiters: Limiters, share: float, rate: Rate | None
) -> None:
    """A fleet that begins at once, and whose calls overlap: 1000 a second, each of 0.2 s."""
    random = Random(1)  # noqa: S311 - nothing secret
    fleet = [limiters.make(rate) for _ in range(200)]
    under_way: list[tuple[SharedRateLimiter, Permit]] = []
    for number in range(6000):
        limiter = fleet[number % len(fleet)]
        if len(under_way) == len(fleet):
            ended, permit = under_way.pop(0)
            ended.release(permit, [BROKEN if random.random() < share else None])
        origin = TaskOrigin(f"client-{number % 20}", f"job-{number}")
        under_way.append((limiter, limiter.acquire(1, patience=20, origin=origin)))
        limiters.now += 0.001


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_call_under_way_when_a_breaker_opens_doubles_nothing(
    limiters: Limiters, item: RateLimitItem, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    one, other = limiters.make_doubting(None), limiters.make_doubting(None)
    permit = one.acquire(1, patience=20, origin=TaskOrigin("client", "job"))
    read = item.get_item

    def read_and_open(**arguments: object) -> object:
        monkeypatch.setattr(item, "get_item", read)
        found = read(**arguments)
        fail(other, FAILURES)
        return found

    if meanwhile:
        monkeypatch.setattr(item, "get_item", read_and_open)
    else:
        fail(other, FAILURES)
    one.release(permit, [BROKEN])
    assert item.values["open_times"] == 1
    assert len(item.values["failed"]) == FAILURES
    reads = item.reads
    assert seconds_until_retry(one) == OPEN_SECONDS
    assert item.reads == reads, "it has seen the breaker"
