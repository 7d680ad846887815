"""The gate before an upstream, its item in memory: who may call when."""

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks.gate_item import GateItem
from benchmarks.virtual_time import VirtualTime
from sd3.errors import (
    Sd3Error,
    UpstreamFailedError,
    UpstreamPacedError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
)
from sd3.settings import Rate
from sd3.upstreams.rate_limit.limiter import SharedGate
from sd3.upstreams.rate_limit.schedule import MICROS, Bounds
from sd3.upstreams.rate_limit.table import GateTable
from tests.gates import STABILITY, Gates

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TURN = Bounds(rate=STABILITY).turn / MICROS
BROKEN = UpstreamFailedError("It broke.")


@pytest.fixture
def item() -> GateItem:
    return GateItem()


@pytest.fixture
def gates(item: GateItem) -> Gates:
    return Gates(cast("DynamoDBClient", item))


def paced(gate: SharedGate, *, patience: float = 20) -> float:
    """After how many seconds a gate that lets nobody in says to come again."""
    with pytest.raises(UpstreamPacedError) as caught:
        gate.enter(16, patience=patience)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_what_a_process_knows_to_be_too_long_it_does_not_ask_the_table(
    gates: Gates, item: GateItem
) -> None:
    gate = gates.make()
    gate.enter(300, patience=20)
    assert item.writes == 1
    assert paced(gate, patience=10) == pytest.approx(
        item.values["turn_at"] / MICROS - gates.now - 2.5
    )
    assert item.writes == 1


def test_what_was_heard_of_a_line_is_remembered(gates: Gates, item: GateItem) -> None:
    one, other = gates.make(), gates.make()
    one.enter(293, patience=20)
    paced(other, patience=10)
    writes = item.writes
    paced(other, patience=10)
    assert item.writes == writes


def test_waits_are_of_the_moment_when_the_write_is_done(gates: Gates, item: GateItem) -> None:
    gates.make().enter(150, patience=20)
    write = item.update_item

    def write_slowly(**arguments: Any) -> dict[str, Any]:
        gates.now += 3
        return write(**arguments)

    item.update_item = write_slowly  # type: ignore[method-assign]
    (wait,) = gates.make().enter(1, patience=20).waits
    assert wait < 150 * TURN - 3 + 1e-5


def test_idle_time_beyond_ones_patience_is_held_against_the_table(gates: Gates) -> None:
    one, other = gates.make(Rate(10, 60)), gates.make(Rate(10, 60))
    one.enter(1, patience=0)
    gates.now += 60
    other.enter(5, patience=0)
    gates.now += 60
    assert len(one.enter(16, patience=0).waits) == 5
    assert paced(other, patience=0) == pytest.approx(5 * Bounds(rate=Rate(10, 60)).turn / MICROS)


def test_turns_that_others_take_early_end_with_the_idle_time(gates: Gates) -> None:
    rate = Rate(10, 60)
    visits = [gates.make(rate).enter(3, patience=0) for _ in range(4)]
    assert [len(visit.waits) for visit in visits] == [3, 3, 3, 1]
    paced(gates.make(rate), patience=0)


def test_a_moment_at_which_all_change_it_is_waited_out(gates: Gates, item: GateItem) -> None:
    write = item.update_item

    def write_after_others(**arguments: Any) -> dict[str, Any]:
        others = {0: 1, 1: 0}[item.writes % 2]  # idle, busy, idle ...
        item.values["turn_at"] = int((gates.now + others) * MICROS) - 1
        return write(**arguments)

    gate = gates.make()
    item.update_item = write_after_others  # type: ignore[method-assign]
    with pytest.raises(UpstreamPacedError, match="at once") as caught:
        gate.enter(1, patience=20)
    assert caught.value.retry_after == 1
    assert item.writes == 8


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (UpstreamThrottledError("429"), 7),
        (UpstreamUnavailableError("503", retry_after=3), 3),
        (UpstreamUnavailableError("refused"), 0),
        (UpstreamPacedError("ours", retry_after=9), 0),
        (BROKEN, 0),
    ],
)
def test_who_asks_for_time_is_given_it(gates: Gates, error: Sd3Error, seconds: float) -> None:
    one, other = (gates.make(None, pause_seconds=7) for _ in range(2))
    one.leave(one.enter(2, patience=20), [None, error])
    assert other.enter(1, patience=20).waits == (seconds,)


def test_a_pause_ends_what_idle_time_was_left(gates: Gates) -> None:
    rate = Rate(10, 60)
    one, other = gates.make(rate), gates.make(rate)
    one.leave(one.enter(1, patience=0), [UpstreamThrottledError("429", retry_after=2)])
    turn = Bounds(rate=rate).turn / MICROS
    assert other.enter(16, patience=20).waits == pytest.approx((turn, 2 * turn, 3 * turn))


@pytest.mark.parametrize("seed", range(10))
def test_no_turn_is_taken_twice_however_visits_interleave(seed: int) -> None:
    """Every write takes some time to the table and back, in which the others write too."""
    random, time, item = Random(seed), VirtualTime(), GateItem()  # noqa: S311 - nothing secret
    taken: list[float] = []

    class Distant:
        def update_item(self, **arguments: Any) -> dict[str, Any]:
            time.sleep(random.uniform(0, 0.1))
            try:
                return item.update_item(**arguments)
            finally:
                time.sleep(random.uniform(0, 0.1))

    def visit() -> None:
        table = GateTable(cast("DynamoDBClient", Distant()), "upstreams", "fake")
        skew = random.uniform(-0.005, 0.005)
        gate = SharedGate(table, bounds=Bounds(rate=STABILITY), clock=lambda: time.now + 1e6 + skew)
        for _ in range(5):
            permit = gate.enter(random.randint(1, 3), patience=100)
            taken.extend(time.now + skew + wait for wait in permit.waits)

    used_up = Gates(cast("DynamoDBClient", item))
    used_up.now = 1e6
    used_up.make().enter(150, patience=20)
    for _ in range(20):
        time.start(visit)
    time.run()
    taken.sort()
    assert len(taken) > 20 * 5
    gaps = [second - first for first, second in pairwise(taken)]
    assert gaps == pytest.approx([TURN] * len(gaps), abs=1e-5)
