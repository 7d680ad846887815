"""The gate on DynamoDB, as moto has it: what one process learns, the others follow."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

from sd3.adapters.aws import Aws
from sd3.errors import (
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamPacedError,
    UpstreamThrottledError,
)
from sd3.upstreams.rate_limit.limiter import (
    FAILURES,
    FULL_SECONDS,
    MAX_PAUSE_SECONDS,
    OPEN_SECONDS,
    SharedGate,
)
from sd3.upstreams.rate_limit.schedule import MICROS, Bounds
from sd3.upstreams.rate_limit.table import PLACE_SECONDS, PROBE_SECONDS
from tests.gates import STABILITY, Gates

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TURN = Bounds(rate=STABILITY).turn / MICROS


@pytest.fixture
def gates(aws: Aws) -> Gates:
    return Gates(aws.dynamodb)


@pytest.fixture
def writes(aws: Aws) -> list[str]:
    """The calls to DynamoDB, those that fail included."""
    seen: list[str] = []

    def note(event_name: str, **_: object) -> None:
        seen.append(event_name.rpartition(".")[2])

    aws.dynamodb.meta.events.register("before-call.dynamodb", note)
    return seen


def item(aws: Aws) -> dict[str, Any]:
    return dict(aws.dynamodb.get_item(TableName="upstreams", Key={"id": {"S": "fake"}})["Item"])


def fail(gate: SharedGate, times: int = 1) -> None:
    for _ in range(times):
        gate.leave(gate.enter(1, patience=20), [UpstreamFailedError("It broke.")])


def paced(gate: SharedGate, calls: int = 16, *, patience: float = 20) -> float:
    """After how many seconds a gate that lets nobody in says to come again."""
    with pytest.raises(UpstreamPacedError) as caught:
        gate.enter(calls, patience=patience)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_two_processes_share_the_turns(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    one.enter(16, patience=20)
    gates.now += 100
    one.enter(150, patience=20)
    assert other.enter(2, patience=20).waits == pytest.approx((150 * TURN, 151 * TURN))
    assert one.enter(1, patience=20).waits == pytest.approx((152 * TURN,))


def test_a_process_whose_clock_is_wrong_waits_by_its_own(gates: Gates) -> None:
    gates.make().enter(150, patience=20)
    behind = gates.make(ahead=-0.005).enter(1, patience=20)
    assert behind.waits == pytest.approx((150 * TURN + 0.005,))


def test_who_cannot_be_served_in_time_gets_what_there_is_and_then_nothing(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    one.enter(150, patience=20)
    assert len(other.enter(16, patience=151 * TURN).waits) == 2
    assert paced(one, patience=151 * TURN) == pytest.approx(152 * TURN - 151 * TURN / 4)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(30, 30), (None, 60), (2 * MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS)]
)
@pytest.mark.parametrize("rate", [STABILITY, None])
def test_a_429_to_one_holds_the_others_back(
    gates: Gates, rate: Any, asked: float | None, seconds: float
) -> None:
    one, other = (gates.make(rate, pause_seconds=60) for _ in range(2))
    one.leave(one.enter(1, patience=20), [UpstreamThrottledError("429", retry_after=asked)])
    assert paced(other, patience=0) == pytest.approx(seconds)
    assert paced(one, patience=0) == pytest.approx(seconds)
    assert other.enter(1, patience=seconds).waits == pytest.approx((seconds,))


def test_a_pause_is_not_made_up_for_nor_shortened(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    permits = [one.enter(1, patience=20) for _ in range(2)]
    one.leave(permits[0], [UpstreamThrottledError("429", retry_after=8)])
    one.leave(permits[1], [UpstreamThrottledError("429", retry_after=2)])
    assert other.enter(2, patience=20).waits == pytest.approx((8, 8 + TURN))


def test_failures_one_after_the_other_give_the_upstream_up(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    fail(one, FAILURES - 1)
    fail(other)
    assert paced(one) == pytest.approx(OPEN_SECONDS)
    assert paced(other) == pytest.approx(OPEN_SECONDS)


def test_a_success_between_failures_counts_from_the_start(gates: Gates) -> None:
    gate = gates.make()
    fail(gate, FAILURES - 1)
    gate.leave(gate.enter(1, patience=20), [None])
    fail(gate, FAILURES - 1)
    assert gate.enter(1, patience=20).is_troubled


def test_then_one_call_probes_and_its_success_lets_everybody_in(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    fail(one, FAILURES)
    gates.now += OPEN_SECONDS
    probe = other.enter(16, patience=20)
    assert len(probe.waits) == 1
    assert paced(one) == pytest.approx(PROBE_SECONDS)
    other.leave(probe, [None])
    assert len(one.enter(16, patience=20).waits) == 16


def test_a_probe_that_fails_doubles_the_rest(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    fail(one, FAILURES)
    for doubled in (2, 4):
        gates.now += doubled * OPEN_SECONDS
        fail(other)
        assert paced(one) == pytest.approx(doubled * OPEN_SECONDS)


def test_calls_that_were_under_way_double_nothing(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    under_way = [other.enter(1, patience=20) for _ in range(20)]
    fail(one, FAILURES)
    for permit in under_way:
        other.leave(permit, [UpstreamFailedError("It broke.")])
    assert paced(one) == pytest.approx(OPEN_SECONDS)


def test_a_probe_that_dies_leaves_its_place_to_another(gates: Gates) -> None:
    one, other = gates.make(), gates.make()
    fail(one, FAILURES)
    gates.now += OPEN_SECONDS
    one.enter(1, patience=20)
    gates.now += PROBE_SECONDS
    probe = other.enter(16, patience=20)
    assert len(probe.waits) == 1
    other.leave(probe, [None])
    assert len(one.enter(16, patience=20).waits) == 16


def test_calls_under_way_are_bounded_and_given_back(gates: Gates) -> None:
    one, other = gates.make(None, concurrency=4), gates.make(None, concurrency=4)
    first = one.enter(3, patience=20)
    second = other.enter(16, patience=20)
    assert [len(permit.waits) for permit in (first, second)] == [3, 1]
    assert paced(other) == FULL_SECONDS
    one.leave(first, [None] * 3)
    assert len(other.enter(16, patience=20).waits) == 3


def test_places_of_the_dead_are_taken_over(gates: Gates, aws: Aws) -> None:
    one, other = gates.make(None, concurrency=4), gates.make(None, concurrency=4)
    one.enter(4, patience=20)
    gates.now += PLACE_SECONDS - 1
    paced(other)
    gates.now += 1
    permit = other.enter(2, patience=20)
    assert len(item(aws)["places"]["M"]) == 2
    other.leave(permit, [None] * 2)
    assert not item(aws)["places"]["M"]


def test_places_and_turns_go_together(gates: Gates) -> None:
    gate = gates.make(concurrency=160)
    assert len(gate.enter(150, patience=20).waits) == 150
    assert gate.enter(16, patience=20).waits == pytest.approx(
        tuple((150 + index) * TURN for index in range(10))
    )


@pytest.mark.parametrize(("rate", "concurrency"), [(STABILITY, None), (None, None), (None, 16)])
def test_a_visit_is_one_write_and_giving_places_back_another(
    gates: Gates, writes: list[str], rate: Any, concurrency: int | None
) -> None:
    gate = gates.make(rate, concurrency=concurrency)
    gate.leave(gate.enter(16, patience=20), [None] * 16)
    for idle in (0.1, 2, 1000):
        gates.now += idle
        del writes[:]
        gate.leave(gate.enter(16, patience=20), [None] * 16)
        assert writes == ["UpdateItem"] * (2 if concurrency else 1)


def test_a_backlog_of_other_processes_calls_is_one_write_each(
    gates: Gates, writes: list[str]
) -> None:
    fleet = [gates.make() for _ in range(50)]
    for gate in fleet * 2:
        gate.enter(1, patience=20)
    del writes[:]
    for _ in range(3):
        gates.now += 50 * TURN  # what each process knows is over, and all have gone on
        for gate in fleet:
            gate.enter(2, patience=20)
    assert writes == ["UpdateItem"] * 150


def test_without_its_table_a_gate_lets_nobody_in(gates: Gates) -> None:
    with pytest.raises(StorageError):
        gates.make(table="nowhere").enter(1, patience=20)


@pytest.mark.parametrize(
    "errors", [[UpstreamThrottledError("429")], [UpstreamFailedError("It broke.")], [None]]
)
def test_without_its_table_a_gate_is_not_told_and_says_so(
    gates: Gates, caplog: pytest.LogCaptureFixture, errors: list[Sd3Error | None]
) -> None:
    permit = gates.make(concurrency=1).enter(1, patience=20)
    with caplog.at_level(logging.WARNING):
        gates.make(concurrency=1, table="nowhere").leave(permit, errors)
    assert [record.message for record in caplog.records] == ["gate not told"]


class Atomic:
    """Writes an item at once, as DynamoDB does and moto does not."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client, self._lock = client, threading.Lock()

    def update_item(self, **arguments: Any) -> Any:
        with self._lock:
            return self._client.update_item(**arguments)


def test_visits_at_one_moment_never_take_the_same_turn(aws: Aws) -> None:
    gates = Gates(cast("DynamoDBClient", Atomic(aws.dynamodb)))
    fleet, together = [gates.make() for _ in range(8)], threading.Barrier(8)
    gates.make().enter(150, patience=20)  # so that there is no idle time

    def visit(gate: SharedGate) -> list[float]:
        together.wait()
        return [wait for _ in range(5) for wait in gate.enter(2, patience=100).waits]

    with ThreadPoolExecutor(8) as pool:
        taken = sorted(round(wait / TURN) for waits in pool.map(visit, fleet) for wait in waits)
    assert taken == list(range(150, 150 + 8 * 5 * 2))
