"""The gate before an upstream that fails, or that calls under way are bounded for."""

import logging
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from benchmarks.gate_item import GateItem
from sd3.errors import (
    ContentPolicyError,
    Sd3Error,
    StorageError,
    UpstreamAnswerError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamPacedError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.upstreams.rate_limit.limiter import (
    FAILURES,
    FULL_SECONDS,
    MAX_OPEN_SECONDS,
    OPEN_SECONDS,
    SharedGate,
)
from sd3.upstreams.rate_limit.schedule import MICROS
from sd3.upstreams.rate_limit.table import PLACE_SECONDS
from tests.gates import Gates

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BROKEN = UpstreamFailedError("It broke.")


@pytest.fixture
def item() -> GateItem:
    return GateItem()


@pytest.fixture
def gates(item: GateItem) -> Gates:
    return Gates(cast("DynamoDBClient", item))


def fail(gate: SharedGate, times: int = 1) -> None:
    for _ in range(times):
        gate.leave(gate.enter(1, patience=20), [BROKEN])


def paced(gate: SharedGate, *, patience: float = 20) -> float:
    """After how many seconds a gate that lets nobody in says to come again."""
    with pytest.raises(UpstreamPacedError) as caught:
        gate.enter(16, patience=patience)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_a_pause_while_a_probe_enters_is_not_cut_short(gates: Gates, item: GateItem) -> None:
    one, other = gates.make(), gates.make()
    fail(one, FAILURES)
    gates.now += OPEN_SECONDS
    write = item.update_item

    def write_after_a_pause(**arguments: Any) -> dict[str, Any]:
        if ":probe" in arguments["ExpressionAttributeValues"]:
            item.values["turn_at"] = int((gates.now + 9) * MICROS)
        return write(**arguments)

    item.update_item = write_after_a_pause  # type: ignore[method-assign]
    assert other.enter(1, patience=20).waits == pytest.approx((9,))


@pytest.mark.parametrize(
    ("error", "is_failure"),
    [
        (BROKEN, True),
        (UpstreamTimeoutError("late"), True),
        (UpstreamAnswerError("no picture"), True),
        (UpstreamUnavailableError("refused"), True),
        (UpstreamThrottledError("429", retry_after=0), False),
        (UpstreamPacedError("ours"), False),
        (StorageError("no key"), False),
        (ContentPolicyError("no"), False),
        (UpstreamKeyError("no"), False),
        (None, False),
    ],
)
def test_only_a_broken_upstream_is_given_up(
    gates: Gates, error: Sd3Error | None, is_failure: bool
) -> None:
    gate = gates.make()
    for _ in range(FAILURES):
        gate.leave(gate.enter(2, patience=20), [error, error])
    if is_failure:
        assert paced(gate) == pytest.approx(OPEN_SECONDS)
    else:
        assert not gate.enter(1, patience=20).is_troubled


@pytest.mark.parametrize("error", [None, ContentPolicyError("no"), UpstreamKeyError("no")])
def test_an_answer_of_any_kind_ends_the_trouble(gates: Gates, error: Sd3Error | None) -> None:
    gate = gates.make()
    fail(gate, FAILURES - 1)
    gate.leave(gate.enter(2, patience=20), [BROKEN, error])
    assert not gate.enter(1, patience=20).is_troubled


def test_a_429_amid_trouble_says_nothing(gates: Gates) -> None:
    gate = gates.make()
    fail(gate, FAILURES - 1)
    gate.leave(gate.enter(1, patience=20), [UpstreamThrottledError("429", retry_after=0)])
    assert gate.enter(1, patience=20).is_troubled


def test_a_rest_is_never_longer_than_its_most(gates: Gates) -> None:
    gate = gates.make()
    fail(gate, FAILURES)
    for _ in range(20):
        gates.now += MAX_OPEN_SECONDS
        fail(gate)
    assert paced(gate) == pytest.approx(MAX_OPEN_SECONDS)


def test_two_who_count_the_same_failure_give_up_once(gates: Gates, item: GateItem) -> None:
    one, other = gates.make(), gates.make()
    permit = other.enter(1, patience=20)
    fail(one, FAILURES - 1)
    write = item.update_item

    def write_after_the_other(**arguments: Any) -> dict[str, Any]:
        item.update_item = write  # type: ignore[method-assign]
        reply = write(**arguments)
        other.leave(permit, [BROKEN])
        return reply

    last = one.enter(1, patience=20)
    item.update_item = write_after_the_other  # type: ignore[method-assign]
    one.leave(last, [BROKEN])
    assert item.values["open_until"] <= (gates.now + 2 * OPEN_SECONDS) * MICROS
    assert item.values["failures"] == FAILURES + 1


def test_many_dead_places_are_taken_over_a_few_at_a_time(gates: Gates, item: GateItem) -> None:
    gate = gates.make(None, concurrency=200)
    gate.enter(200, patience=20)
    gates.now += PLACE_SECONDS
    assert len(gate.enter(200, patience=20).waits) == 50
    assert len(item.values["places"]) == 200


def test_nobody_enters_a_place_that_another_took_meanwhile(gates: Gates, item: GateItem) -> None:
    one, other = gates.make(None, concurrency=2), gates.make(None, concurrency=2)
    one.leave(one.enter(1, patience=20), [None])
    assert len(other.enter(2, patience=20).waits) == 2
    assert paced(one) == FULL_SECONDS


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem"),
    ],
)
def test_a_table_out_of_order_is_an_error_on_the_way_in_and_a_line_in_the_log_on_the_way_out(
    gates: Gates, item: GateItem, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fails(**_: Any) -> dict[str, Any]:
        raise error

    gate = gates.make(concurrency=1)
    permit = gate.enter(1, patience=20)
    item.update_item = fails  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="upstreams table"):
        gate.enter(1, patience=20)
    with caplog.at_level(logging.WARNING):
        gate.leave(permit, [BROKEN])
    assert [record.message for record in caplog.records] == ["gate not told"]
