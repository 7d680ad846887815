"""The limiter before an upstream that fails, or that calls under way are bounded for."""

import logging
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from benchmarks.rate_limit_item import RateLimitItem
from sd3.domain.generation import TaskOrigin
from sd3.errors import (
    ContentPolicyError,
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRateLimitedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.upstreams.rate_limit.breaker import FAILURES, MAX_OPEN_SECONDS, OPEN_SECONDS
from sd3.upstreams.rate_limit.limiter import FULL_SECONDS
from sd3.upstreams.rate_limit.schedule import MICROSECONDS
from sd3.upstreams.rate_limit.table import LEASE_SECONDS
from tests.support.factories.limiters import Limiters, fail, seconds_until_retry

BROKEN = UpstreamFailedError("It broke.")


def test_a_pause_while_a_probe_enters_is_not_cut_short(
    limiters: Limiters, item: RateLimitItem
) -> None:
    one, other = limiters.make_doubting(), limiters.make_doubting()
    fail(one, FAILURES)
    limiters.now += OPEN_SECONDS
    write = item.update_item

    def write_after_a_pause(**arguments: Any) -> dict[str, Any]:
        if ":probe" in arguments["ExpressionAttributeValues"]:
            item.values["next_slot_at"] = int((limiters.now + 9) * MICROSECONDS)
        return write(**arguments)

    item.update_item = write_after_a_pause  # type: ignore[method-assign]
    assert other.acquire(1, patience=20).waits == pytest.approx((9,))


@pytest.mark.parametrize(
    ("error", "is_failure"),
    [
        (BROKEN, True),
        (UpstreamTimeoutError("late"), True),
        (UpstreamResponseError("no image"), True),
        (UpstreamUnavailableError("refused"), True),
        (UpstreamThrottledError("429", retry_after=0), False),
        (UpstreamRateLimitedError("ours"), False),
        (StorageError("no key"), False),
        (ContentPolicyError("no"), False),
        (UpstreamKeyError("no"), False),
        (None, False),
    ],
)
def test_only_a_broken_upstream_is_given_up(
    limiters: Limiters, item: RateLimitItem, error: Sd3Error | None, is_failure: bool
) -> None:
    limiter = limiters.make_doubting()
    for number in range(FAILURES):
        origin = TaskOrigin(f"client-{number}", f"job-{number}")
        limiter.release(limiter.acquire(2, patience=20, origin=origin), [error, error])
    if is_failure:
        assert seconds_until_retry(limiter) == pytest.approx(OPEN_SECONDS)
    else:
        assert "failed" not in item.values


@pytest.mark.parametrize("error", [None, ContentPolicyError("no"), UpstreamKeyError("no")])
def test_any_response_resets_the_failure_count(
    limiters: Limiters, item: RateLimitItem, error: Sd3Error | None
) -> None:
    limiter = limiters.make_doubting()
    fail(limiter, FAILURES - 1)
    limiter.release(limiter.acquire(2, patience=20), [BROKEN, error])
    assert "failed" not in item.values


def test_a_429_does_not_change_the_failure_count(limiters: Limiters, item: RateLimitItem) -> None:
    limiter = limiters.make_doubting()
    fail(limiter, FAILURES - 1)
    limiter.release(limiter.acquire(1, patience=20), [UpstreamThrottledError("429", retry_after=0)])
    assert len(item.values["failed"]) == FAILURES - 1


def test_a_rest_is_never_longer_than_its_most(limiters: Limiters) -> None:
    limiter = limiters.make_doubting()
    fail(limiter, FAILURES)
    for _ in range(20):
        limiters.now += MAX_OPEN_SECONDS
        fail(limiter)
    assert seconds_until_retry(limiter) == pytest.approx(MAX_OPEN_SECONDS)


def test_two_processes_that_count_the_same_failure_pause_once(
    limiters: Limiters, item: RateLimitItem
) -> None:
    one, other = limiters.make_doubting(), limiters.make_doubting()
    permit = other.acquire(1, patience=20)
    fail(one, FAILURES - 1)
    write = item.update_item

    def write_after_the_other(**arguments: Any) -> dict[str, Any]:
        item.update_item = write  # type: ignore[method-assign]
        reply = write(**arguments)
        other.release(permit, [BROKEN])
        return reply

    last = one.acquire(1, patience=20)
    item.update_item = write_after_the_other  # type: ignore[method-assign]
    one.release(last, [BROKEN])
    assert item.values["open_until"] <= (limiters.now + 2 * OPEN_SECONDS) * MICROSECONDS
    assert item.values["open_times"] == 1


def test_many_expired_leases_are_taken_over_a_few_at_a_time(
    limiters: Limiters, item: RateLimitItem
) -> None:
    limiter = limiters.make(None, concurrency=100)
    limiter.acquire(100, patience=20)
    limiters.now += LEASE_SECONDS
    assert len(limiter.acquire(100, patience=20).waits) == 50
    assert len(item.values["leases"]) == 100


def test_a_lease_that_another_took_meanwhile_is_not_acquired(
    limiters: Limiters, item: RateLimitItem
) -> None:
    one, other = limiters.make(None, concurrency=2), limiters.make(None, concurrency=2)
    one.release(one.acquire(1, patience=20), [None])
    assert len(other.acquire(2, patience=20).waits) == 2
    assert seconds_until_retry(one) == FULL_SECONDS


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem"),
    ],
)
def test_a_failing_table_is_an_error_when_acquiring_and_a_log_entry_when_releasing(
    limiters: Limiters, item: RateLimitItem, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fails(**_: Any) -> dict[str, Any]:
        raise error

    limiter = limiters.make(concurrency=1)
    permit = limiter.acquire(1, patience=20)
    item.update_item = fails  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="upstreams table"):
        limiter.acquire(1, patience=20)
    with caplog.at_level(logging.WARNING):
        limiter.release(permit, [BROKEN])
    assert [record.message for record in caplog.records] == ["rate limiter not updated"]
