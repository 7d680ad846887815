"""The limiter before an upstream, its item in memory: who may call when."""

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks.rate_limit_item import RateLimitItem
from benchmarks.virtual_time import VirtualTime
from sd3.errors import (
    Sd3Error,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
)
from sd3.settings import Rate
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.schedule import MICROSECONDS, RateBounds
from sd3.upstreams.rate_limit.table import RateLimitTable
from tests.support.factories.limiters import STABILITY, Limiters, seconds_until_retry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SLOT = RateBounds(rate=STABILITY).slot / MICROSECONDS
BROKEN = UpstreamFailedError("It broke.")


def test_a_wait_known_to_be_too_long_makes_no_call_to_the_table(
    limiters: Limiters, item: RateLimitItem
) -> None:
    limiter = limiters.make()
    limiter.acquire(300, patience=20)
    assert item.writes == 1
    assert seconds_until_retry(limiter, patience=10) == pytest.approx(
        item.values["next_slot_at"] / MICROSECONDS - limiters.now - 2.5
    )
    assert item.writes == 1


def test_a_long_wait_is_remembered_without_another_call(
    limiters: Limiters, item: RateLimitItem
) -> None:
    one, other = limiters.make(), limiters.make()
    one.acquire(293, patience=20)
    seconds_until_retry(other, patience=10)
    writes = item.writes
    seconds_until_retry(other, patience=10)
    assert item.writes == writes


def test_waits_count_from_the_end_of_the_write(limiters: Limiters, item: RateLimitItem) -> None:
    limiters.make().acquire(150, patience=20)
    write = item.update_item

    def write_slowly(**arguments: Any) -> dict[str, Any]:
        limiters.now += 3
        return write(**arguments)

    item.update_item = write_slowly  # type: ignore[method-assign]
    (wait,) = limiters.make().acquire(1, patience=20).waits
    assert wait < 150 * SLOT - 3 + 1e-5


def test_idle_time_beyond_ones_patience_is_held_against_the_table(limiters: Limiters) -> None:
    one, other = limiters.make(Rate(10, 60)), limiters.make(Rate(10, 60))
    one.acquire(1, patience=0)
    limiters.now += 60
    other.acquire(5, patience=0)
    limiters.now += 60
    assert len(one.acquire(16, patience=0).waits) == 5
    assert seconds_until_retry(other, patience=0) == pytest.approx(
        5 * RateBounds(rate=Rate(10, 60)).slot / MICROSECONDS
    )


def test_slots_that_others_take_early_end_with_the_idle_time(limiters: Limiters) -> None:
    rate = Rate(10, 60)
    acquisitions = [limiters.make(rate).acquire(3, patience=0) for _ in range(4)]
    assert [len(acquire_update.waits) for acquire_update in acquisitions] == [3, 3, 3, 1]
    seconds_until_retry(limiters.make(rate), patience=0)


def test_a_state_that_others_change_at_every_write_is_waited_out(
    limiters: Limiters, item: RateLimitItem
) -> None:
    write = item.update_item

    def write_after_others(**arguments: Any) -> dict[str, Any]:
        others = {0: 1, 1: 0}[item.writes % 2]  # idle, busy, idle ...
        item.values["next_slot_at"] = int((limiters.now + others) * MICROSECONDS) - 1
        return write(**arguments)

    limiter = limiters.make()
    item.update_item = write_after_others  # type: ignore[method-assign]
    with pytest.raises(UpstreamRateLimitedError, match="at once") as caught:
        limiter.acquire(1, patience=20)
    assert caught.value.retry_after == 1
    assert item.writes == 8


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (UpstreamThrottledError("429"), 7),
        (UpstreamUnavailableError("503", retry_after=3), 0),
        (UpstreamUnavailableError("refused"), 0),
        (UpstreamRateLimitedError("ours", retry_after=9), 0),
        (BROKEN, 0),
    ],
)
def test_a_429_pauses_all_processes(limiters: Limiters, error: Sd3Error, seconds: float) -> None:
    one, other = (limiters.make(None, pause_seconds=7) for _ in range(2))
    one.release(one.acquire(2, patience=20), [None, error])
    assert other.acquire(1, patience=20).waits == (seconds,)


def test_a_pause_ends_what_idle_time_was_left(limiters: Limiters) -> None:
    rate = Rate(10, 60)
    one, other = limiters.make(rate), limiters.make(rate)
    one.release(one.acquire(1, patience=0), [UpstreamThrottledError("429", retry_after=2)])
    slot = RateBounds(rate=rate).slot / MICROSECONDS
    assert other.acquire(16, patience=20).waits == pytest.approx((slot, 2 * slot, 3 * slot))


@pytest.mark.parametrize("seed", range(10))
def test_no_slot_is_taken_twice_however_calls_interleave(seed: int) -> None:
    """Every write takes some time to the table and back, in which the others write too."""
    random, time, item = Random(seed), VirtualTime(), RateLimitItem()  # noqa: S311 - nothing secret
    taken: list[float] = []

    class Distant:
        def update_item(self, **arguments: Any) -> dict[str, Any]:
            time.sleep(random.uniform(0, 0.1))
            try:
                return item.update_item(**arguments)
            finally:
                time.sleep(random.uniform(0, 0.1))

    def acquire_update() -> None:
        table = RateLimitTable(cast("DynamoDBClient", Distant()), "upstreams", "fake")
        skew = random.uniform(-0.005, 0.005)
        limiter = SharedRateLimiter(
            table, bounds=RateBounds(rate=STABILITY), clock=lambda: time.now + 1e6 + skew
        )
        for _ in range(5):
            permit = limiter.acquire(random.randint(1, 3), patience=100)
            taken.extend(time.now + skew + wait for wait in permit.waits)

    used_up = Limiters(cast("DynamoDBClient", item))
    used_up.now = 1e6
    used_up.make().acquire(150, patience=20)
    for _ in range(20):
        time.start(acquire_update)
    time.run()
    taken.sort()
    assert len(taken) > 20 * 5
    gaps = [second - first for first, second in pairwise(taken)]
    assert gaps == pytest.approx([SLOT] * len(gaps), abs=1e-5)


def test_the_time_of_a_step_is_shared_and_counts_for_an_hour(limiters: Limiters) -> None:
    one, other = limiters.make(), limiters.make()
    assert one.seconds_per_step() is None
    one.note_step(0.25, is_least=False)
    limiters.now += 3600
    assert other.seconds_per_step() == 0.25
    limiters.now += 1
    assert other.seconds_per_step() is None


def test_a_call_that_hangs_does_not_replace_a_time_that_was_measured(limiters: Limiters) -> None:
    limiter = limiters.make()
    limiter.note_step(0.25, is_least=False)
    limiter.note_step(9, is_least=True)
    assert limiter.seconds_per_step() == 0.25
    limiters.now += 3601
    limiter.note_step(9, is_least=True)
    assert limiter.seconds_per_step() == 9
