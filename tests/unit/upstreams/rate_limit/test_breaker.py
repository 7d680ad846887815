"""Whom failures stop: the client whose jobs fail, and everybody when several clients' jobs do."""

from collections.abc import Callable
from itertools import count

import pytest

from sd3.domain.generation import TaskOrigin
from sd3.errors import (
    Sd3Error,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.upstreams.rate_limit.breaker import FAILURES, OPEN_SECONDS
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.memory import TROUBLE_SECONDS
from tests.support.factories.limiters import Limiters, fail, seconds_until_retry

BROKEN = UpstreamFailedError("It broke.")
GOOD = TaskOrigin("good", "job")
FAILURE_KINDS = [
    BROKEN,
    UpstreamTimeoutError("late"),
    UpstreamResponseError("no image"),
    UpstreamUnavailableError("refused"),
    UpstreamUnavailableError("503", retry_after=600),
]


def call(limiter: SharedRateLimiter, origin: TaskOrigin, error: Sd3Error | None) -> bool:
    """Call for a job; return whether the call was allowed."""
    try:
        permit = limiter.acquire(1, patience=20, origin=origin)
    except UpstreamRateLimitedError:
        return False
    limiter.release(permit, [error])
    return True


def bad_job(number: int, *, is_retry: bool = False, client: str = "bad") -> TaskOrigin:
    return TaskOrigin(client, f"job-{number}", is_retry=is_retry)


@pytest.mark.parametrize(
    "error", FAILURE_KINDS, ids=lambda error: f"{type(error).__name__}-{error}"
)
def test_a_client_whose_jobs_always_fail_costs_the_others_nothing(
    limiters: Limiters, error: Sd3Error
) -> None:
    """Ten bad jobs, tried again and again; another client asks every two seconds."""
    one, other = limiters.make(None), limiters.make(None)
    tries = count()
    assert [call(one, bad_job(number), error) for number in range(10)].count(True) >= 1
    for _ in range(100):
        for _ in range(4):
            number = next(tries)
            call(one, bad_job(number % 10, is_retry=number >= 10), error)
            call(one, bad_job(1000 + number), error)
            limiters.now += 0.5
        assert call(other, GOOD, None)


def test_a_client_whose_jobs_fail_is_stopped_itself(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make()
    for number in range(FAILURES):
        assert call(one, bad_job(number), BROKEN)
    stopped = bad_job(9)
    assert seconds_until_retry(other, origin=stopped) == pytest.approx(OPEN_SECONDS)
    limiters.now += OPEN_SECONDS
    assert call(other, stopped, BROKEN), "the probe"
    assert seconds_until_retry(one, origin=bad_job(10)) == pytest.approx(2 * OPEN_SECONDS)


def test_a_503_stops_its_client_for_as_long_as_it_says(limiters: Limiters) -> None:
    limiter = limiters.make()
    assert call(limiter, bad_job(1), UpstreamUnavailableError("503", retry_after=30))
    assert seconds_until_retry(limiter, origin=bad_job(2)) == pytest.approx(30)
    assert call(limiter, GOOD, None)


@pytest.mark.parametrize("clients", [3, 5])
def test_jobs_of_several_clients_stop_everybody(limiters: Limiters, clients: int) -> None:
    limiter = limiters.make_doubting()
    for number in range(2 * clients)[:FAILURES]:
        assert call(limiter, bad_job(number, client=f"client-{number % clients}"), BROKEN)
    assert seconds_until_retry(limiter, origin=GOOD) == pytest.approx(OPEN_SECONDS)


def test_who_opens_everybodys_breaker_is_told_for_how_long(limiters: Limiters) -> None:
    limiter = limiters.make_doubting()
    seconds = []
    for number in range(FAILURES + 2):
        origin = TaskOrigin(f"client-{number}", f"job-{number}")
        seconds.append(limiter.release(limiter.acquire(1, patience=20, origin=origin), [BROKEN]))
        if seconds[-1]:
            limiters.now += seconds[-1]  # then the next caller is the probe
    assert seconds == [0.0] * (FAILURES - 1) + [OPEN_SECONDS, 2 * OPEN_SECONDS, 4 * OPEN_SECONDS]


def test_a_clients_own_breaker_counts_as_nobody_elses(limiters: Limiters) -> None:
    limiter = limiters.make_doubting()
    permits = (limiter.acquire(1, patience=20, origin=bad_job(n)) for n in range(FAILURES))
    assert [limiter.release(permit, [BROKEN]) for permit in permits] == [0.0] * FAILURES
    assert seconds_until_retry(limiter, origin=bad_job(FAILURES)) == pytest.approx(OPEN_SECONDS)


@pytest.mark.parametrize(
    "origin",
    [
        lambda number: TaskOrigin(f"client-{number}", f"job-{number}", is_retry=True),
        lambda number: TaskOrigin(f"client-{number % 2}", f"job-{number}"),
        lambda number: TaskOrigin(f"client-{number}", "the same job") if number < 2 else bad_job(1),
    ],
    ids=["jobs that failed before", "jobs of two clients", "one job several times"],
)
def test_other_failures_do_not_stop_everybody(
    limiters: Limiters, origin: Callable[[int], TaskOrigin]
) -> None:
    limiter = limiters.make_doubting()
    for number in range(20):
        call(limiter, origin(number), BROKEN)
    assert call(limiter, GOOD, None)


def test_a_job_that_failed_before_waits_while_the_upstream_rests(limiters: Limiters) -> None:
    limiter = limiters.make_doubting()
    fail(limiter, FAILURES)
    assert not call(limiter, bad_job(1, is_retry=True), BROKEN)


def test_a_job_that_failed_before_is_no_probe_and_keeps_none_out(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make()
    fail(one, FAILURES)
    limiters.now += OPEN_SECONDS
    for number in range(3):
        assert call(one, bad_job(number, is_retry=True), BROKEN)
    probe = other.acquire(1, patience=20, origin=GOOD)
    assert probe.probed
    assert call(one, bad_job(4, is_retry=True), BROKEN) is False, "the probe is under way"
    other.release(probe, [None])
    limiters.now += TROUBLE_SECONDS
    assert call(one, bad_job(5), None)


def test_a_job_that_failed_before_ends_the_rest_when_it_succeeds(limiters: Limiters) -> None:
    limiter = limiters.make_doubting()
    fail(limiter, FAILURES)
    limiters.now += OPEN_SECONDS
    assert call(limiter, bad_job(1, is_retry=True), None)
    assert not limiter.acquire(1, patience=20, origin=GOOD).troubles
