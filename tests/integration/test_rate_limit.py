"""The limiter on DynamoDB, as moto has it: what one process learns, the others follow."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

from sd3.adapters.aws import Aws
from sd3.domain.generation import TaskOrigin
from sd3.errors import (
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamThrottledError,
)
from sd3.settings import Rate
from sd3.upstreams.rate_limit.breaker import FAILURES, OPEN_SECONDS
from sd3.upstreams.rate_limit.limiter import FULL_SECONDS, SharedRateLimiter
from sd3.upstreams.rate_limit.memory import KNOWN_SECONDS, TROUBLE_SECONDS
from sd3.upstreams.rate_limit.outcomes import MAX_PAUSE_SECONDS
from sd3.upstreams.rate_limit.schedule import MICROSECONDS, RateBounds
from sd3.upstreams.rate_limit.table import LEASE_SECONDS, PROBE_SECONDS
from tests.support.factories.limiters import STABILITY, Limiters, fail, seconds_until_retry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SLOT = RateBounds(rate=STABILITY).slot / MICROSECONDS


@pytest.fixture
def limiters(aws: Aws) -> Limiters:
    return Limiters(aws.dynamodb)


@pytest.fixture
def writes(aws: Aws) -> list[str]:
    """Record the calls to DynamoDB, those that fail included."""
    seen: list[str] = []

    def note(event_name: str, **_: object) -> None:
        seen.append(event_name.rpartition(".")[2])

    aws.dynamodb.meta.events.register("before-call.dynamodb", note)
    return seen


def item(aws: Aws) -> dict[str, Any]:
    return dict(aws.dynamodb.get_item(TableName="upstreams", Key={"id": {"S": "fake"}})["Item"])


def test_two_processes_share_the_slots(limiters: Limiters) -> None:
    one, other = limiters.make(), limiters.make()
    one.acquire(16, patience=20)
    limiters.now += 100
    one.acquire(150, patience=20)
    assert other.acquire(2, patience=20).waits == pytest.approx((150 * SLOT, 151 * SLOT))
    assert one.acquire(1, patience=20).waits == pytest.approx((152 * SLOT,))


def test_a_process_waits_by_its_own_clock_even_if_it_is_wrong(limiters: Limiters) -> None:
    limiters.make().acquire(150, patience=20)
    behind = limiters.make(ahead=-0.005).acquire(1, patience=20)
    assert behind.waits == pytest.approx((150 * SLOT + 0.005,))


def test_a_caller_without_time_for_all_slots_gets_those_left_and_then_none(
    limiters: Limiters,
) -> None:
    one, other = limiters.make(), limiters.make()
    one.acquire(150, patience=20)
    assert len(other.acquire(16, patience=151 * SLOT).waits) == 2
    assert seconds_until_retry(one, patience=151 * SLOT) == pytest.approx(
        152 * SLOT - 151 * SLOT / 4
    )


@pytest.mark.parametrize(
    ("retry_after_seconds", "seconds"),
    [(30, 30), (None, 60), (2 * MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS)],
)
@pytest.mark.parametrize("rate", [STABILITY, None])
def test_a_429_to_one_holds_the_others_back(
    limiters: Limiters, rate: Any, retry_after_seconds: float | None, seconds: float
) -> None:
    one, other = (limiters.make(rate, pause_seconds=60) for _ in range(2))
    one.release(
        one.acquire(1, patience=20),
        [UpstreamThrottledError("429", retry_after=retry_after_seconds)],
    )
    assert seconds_until_retry(other, patience=0) == pytest.approx(seconds)
    assert seconds_until_retry(one, patience=0) == pytest.approx(seconds)
    assert other.acquire(1, patience=seconds).waits == pytest.approx((seconds,))


def test_a_pause_is_neither_compensated_nor_shortened(limiters: Limiters) -> None:
    one, other = limiters.make(), limiters.make()
    permits = [one.acquire(1, patience=20) for _ in range(2)]
    one.release(permits[0], [UpstreamThrottledError("429", retry_after=8)])
    one.release(permits[1], [UpstreamThrottledError("429", retry_after=2)])
    assert other.acquire(2, patience=20).waits == pytest.approx((8, 8 + SLOT))


def test_failures_one_after_the_other_give_the_upstream_up(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make_doubting()
    fail(one, FAILURES - 1)
    fail(other)
    assert seconds_until_retry(one) == pytest.approx(OPEN_SECONDS)
    assert seconds_until_retry(other) == pytest.approx(OPEN_SECONDS)


def test_a_success_between_failures_counts_from_the_start(limiters: Limiters) -> None:
    limiter = limiters.make_doubting()
    fail(limiter, FAILURES - 1)
    limiter.release(limiter.acquire(1, patience=20), [None])
    fail(limiter, FAILURES - 1)
    assert limiter.acquire(1, patience=20).troubles


def test_one_call_probes_after_a_pause_and_its_success_ends_it(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make_doubting()
    fail(one, FAILURES)
    limiters.now += OPEN_SECONDS
    probe = other.acquire(16, patience=20)
    assert len(probe.waits) == 1
    assert seconds_until_retry(one) == pytest.approx(PROBE_SECONDS)
    other.release(probe, [None])
    limiters.now += TROUBLE_SECONDS
    assert len(one.acquire(16, patience=20).waits) == 16


def test_a_probe_that_fails_doubles_the_rest(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make_doubting()
    fail(one, FAILURES)
    for doubled in (2, 4):
        limiters.now += doubled * OPEN_SECONDS
        fail(other)
        assert seconds_until_retry(one) == pytest.approx(doubled * OPEN_SECONDS)


def test_calls_that_were_under_way_double_nothing(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make()
    under_way = [other.acquire(1, patience=20) for _ in range(20)]
    fail(one, FAILURES)
    for permit in under_way:
        other.release(permit, [UpstreamFailedError("It broke.")])
    assert seconds_until_retry(one) == pytest.approx(OPEN_SECONDS)


def test_after_a_probe_that_dies_another_takes_its_lease(limiters: Limiters) -> None:
    one, other = limiters.make_doubting(), limiters.make_doubting()
    fail(one, FAILURES)
    limiters.now += OPEN_SECONDS
    one.acquire(1, patience=20)
    limiters.now += PROBE_SECONDS
    probe = other.acquire(16, patience=20)
    assert len(probe.waits) == 1
    other.release(probe, [None])
    assert len(one.acquire(16, patience=20).waits) == 16


def test_calls_under_way_are_bounded_and_given_back(limiters: Limiters) -> None:
    one, other = limiters.make(None, concurrency=4), limiters.make(None, concurrency=4)
    first = one.acquire(3, patience=20)
    second = other.acquire(16, patience=20)
    assert [len(permit.waits) for permit in (first, second)] == [3, 1]
    assert seconds_until_retry(other) == FULL_SECONDS
    one.release(first, [None] * 3)
    assert len(other.acquire(16, patience=20).waits) == 3


def test_leases_of_dead_processes_are_taken_over(limiters: Limiters, aws: Aws) -> None:
    one, other = limiters.make(None, concurrency=4), limiters.make(None, concurrency=4)
    one.acquire(4, patience=20)
    limiters.now += LEASE_SECONDS - 1
    seconds_until_retry(other)
    limiters.now += 1
    permit = other.acquire(2, patience=20)
    assert len(item(aws)["leases"]["M"]) == 2
    other.release(permit, [None] * 2)
    assert not item(aws)["leases"]["M"]


def test_a_lease_and_a_slot_are_acquired_together(limiters: Limiters) -> None:
    limiter = limiters.make(concurrency=160)
    assert len(limiter.acquire(150, patience=20).waits) == 150
    assert limiter.acquire(16, patience=20).waits == pytest.approx(
        tuple((150 + index) * SLOT for index in range(10))
    )


@pytest.mark.parametrize(("rate", "concurrency"), [(STABILITY, None), (None, 16)])
def test_acquiring_is_one_write_and_releasing_another(
    limiters: Limiters, writes: list[str], rate: Any, concurrency: int | None
) -> None:
    limiter = limiters.make(rate, concurrency=concurrency)
    limiter.release(limiter.acquire(16, patience=20), [None] * 16)
    for idle in (0.1, 2, 1000):
        limiters.now += idle
        del writes[:]
        limiter.release(limiter.acquire(16, patience=20), [None] * 16)
        assert writes == ["UpdateItem"] * (2 if concurrency else 1)


def test_a_backlog_of_other_processes_calls_is_one_write_each(
    limiters: Limiters, writes: list[str]
) -> None:
    fleet = [limiters.make() for _ in range(50)]
    for limiter in fleet * 2:
        limiter.acquire(1, patience=20)
    del writes[:]
    for _ in range(3):
        limiters.now += 50 * SLOT  # the state in each process has expired, and all have continued
        for limiter in fleet:
            limiter.acquire(2, patience=20)
    assert writes == ["UpdateItem"] * 150


def test_without_its_table_a_limiter_permits_no_call(limiters: Limiters) -> None:
    with pytest.raises(StorageError):
        limiters.make(table="nowhere").acquire(1, patience=20)


@pytest.mark.parametrize(
    "errors", [[UpstreamThrottledError("429")], [UpstreamFailedError("It broke.")], [None]]
)
def test_without_its_table_a_release_is_logged(
    limiters: Limiters, caplog: pytest.LogCaptureFixture, errors: list[Sd3Error | None]
) -> None:
    permit = limiters.make(concurrency=1).acquire(1, patience=20)
    with caplog.at_level(logging.WARNING):
        limiters.make(concurrency=1, table="nowhere").release(permit, errors)
    assert [record.message for record in caplog.records] == ["rate limiter not updated"]


class Atomic:
    """Writes an item at once, as DynamoDB does and moto does not."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client, self._lock = client, threading.Lock()

    def update_item(self, **arguments: Any) -> Any:
        with self._lock:
            return self._client.update_item(**arguments)


def test_concurrent_calls_never_take_the_same_slot(aws: Aws) -> None:
    limiters = Limiters(cast("DynamoDBClient", Atomic(aws.dynamodb)))
    fleet, together = [limiters.make() for _ in range(8)], threading.Barrier(8)
    limiters.make().acquire(150, patience=20)  # so that there is no idle time

    def acquire_update(limiter: SharedRateLimiter) -> list[float]:
        together.wait()
        return [wait for _ in range(5) for wait in limiter.acquire(2, patience=100).waits]

    with ThreadPoolExecutor(8) as pool:
        taken = sorted(
            round(wait / SLOT) for waits in pool.map(acquire_update, fleet) for wait in waits
        )
    assert taken == list(range(150, 150 + 8 * 5 * 2))


def test_a_healthy_upstream_without_bounds_is_looked_at_once_in_a_while(
    limiters: Limiters, writes: list[str]
) -> None:
    limiter = limiters.make(None)
    for calls in (["GetItem"], [], []):
        limiter.release(limiter.acquire(16, patience=20), [None] * 16)
        assert writes == calls
        del writes[:]
    limiters.now += KNOWN_SECONDS
    limiter.release(limiter.acquire(16, patience=20), [UpstreamFailedError("It broke.")] * 16)
    limiter.release(limiter.acquire(16, patience=20), [None] * 16)
    assert writes == ["GetItem"] * 3, "before each call, and for evidence that is to be removed"


@pytest.mark.parametrize("concurrency", [None, 900])
def test_the_items_of_a_high_bound_share_a_pause_and_the_breakers(
    limiters: Limiters, concurrency: int | None
) -> None:
    one = limiters.make_doubting(Rate(2000, 1), concurrency=concurrency)
    other = limiters.make(Rate(2000, 1), concurrency=concurrency)
    jobs = [TaskOrigin("client", f"job-{number}") for number in range(20)]
    permits = [other.acquire(1, patience=20, origin=job) for job in jobs]
    for permit in permits[1:]:
        other.release(permit, [None])
    other.release(permits[0], [UpstreamThrottledError("429", retry_after=8)])
    assert {one.acquire(1, patience=20, origin=job).waits[0] >= 8 for job in jobs} == {True}
    fail(one, FAILURES)
    limiters.now += KNOWN_SECONDS
    probe = other.acquire(16, patience=20, origin=jobs[0])
    assert len(probe.waits) == 1
    assert seconds_until_retry(one, origin=jobs[1]) == pytest.approx(PROBE_SECONDS)
