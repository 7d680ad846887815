"""The burst of one client's jobs: what the model of DynamoDB refuses, and how a run is judged."""

from functools import partial
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks import burst
from benchmarks.table import line
from benchmarks.timed_dynamodb import (
    REFUSAL_SECONDS,
    TRANSACTION_SECONDS,
    WRITE_SECONDS,
    WRITES_A_SECOND,
    TimedDynamoDB,
)
from benchmarks.virtual_time import VirtualTime
from sd3.adapters.dynamodb.table import to_item
from sd3.domain.client import ClientLimits
from sd3.errors import BudgetExceededError


class Calls:
    """Calls of a model of DynamoDB with one table, each at its moment of virtual time."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.database = TimedDynamoDB(self.time, {"t": ("id",)})
        self.replies: list[tuple[float, Any]] = []
        """When each call was answered, and the reply, or the error's code or reasons."""

    def add(self, operation: str, *, at: float = 0.0, **request: Any) -> None:
        def call() -> None:
            self.time.sleep(at)
            try:
                reply = getattr(self.database, operation)(**request)
            except ClientError as error:
                reply = _reasons(error)
            self.replies.append((round(self.time.now, 3), reply))

        self.time.start(call)

    def write(self, item: str, *, at: float = 0.0, **condition: Any) -> None:
        self.add("put_item", at=at, **put(item, **condition))

    def transact(self, *items: str, at: float = 0.0, **condition: Any) -> None:
        parts = [{"Put": put(item, **condition)} for item in items]
        self.add("transact_write_items", at=at, TransactItems=parts)

    def answers(self) -> list[tuple[float, Any]]:
        self.time.run()
        return self.replies


@pytest.fixture
def calls() -> Calls:
    return Calls()


def put(item: str, **condition: Any) -> dict[str, Any]:
    return {"TableName": "t", "Item": to_item({"id": item, "n": 1}), **condition}


def _reasons(error: ClientError) -> Any:
    response: Any = error.response
    if "CancellationReasons" in response:
        return [reason["Code"] for reason in response["CancellationReasons"]]
    return response["Error"]["Code"]


def test_an_item_in_a_transaction_refuses_writes_until_the_transaction_answers(
    calls: Calls,
) -> None:
    calls.transact("a", "b")
    calls.transact("c", "b", at=0.001)
    calls.write("a", at=0.002)
    calls.transact("b", "c", at=TRANSACTION_SECONDS + 0.001)
    assert calls.answers() == [
        (0.001 + REFUSAL_SECONDS, ["None", "TransactionConflict"]),
        (0.002 + REFUSAL_SECONDS, "TransactionConflictException"),
        (TRANSACTION_SECONDS, {}),
        (2 * TRANSACTION_SECONDS + 0.001, {}),
    ]
    assert calls.database.conflicts == 2


def test_transactions_on_other_items_run_side_by_side(calls: Calls) -> None:
    calls.transact("a", "b")
    calls.transact("c", "d")
    calls.write("e")
    assert calls.answers() == [
        (WRITE_SECONDS, {}),
        (TRANSACTION_SECONDS, {}),
        (TRANSACTION_SECONDS, {}),
    ]


def test_a_transaction_with_a_failed_condition_writes_nothing(calls: Calls) -> None:
    new = {
        "ConditionExpression": "attribute_not_exists(#id)",
        "ExpressionAttributeNames": {"#id": "id"},
    }
    calls.write("a")
    calls.transact("b", "a", at=WRITE_SECONDS, **new)
    calls.write("a", at=2 * WRITE_SECONDS, **new)
    assert [reply for _, reply in calls.answers()] == [
        {},
        ["None", "ConditionalCheckFailed"],
        "ConditionalCheckFailedException",
    ]
    assert ("t", "b") not in calls.database.items


def test_a_read_waits_for_no_transaction_and_sees_what_was_before_it(calls: Calls) -> None:
    calls.transact("a")
    for at in (0.001, TRANSACTION_SECONDS + 0.001):
        calls.add("get_item", at=at, TableName="t", Key=to_item({"id": "a"}))
    replies = [reply for _, reply in calls.answers()]
    assert replies == [{}, {}, {"Item": to_item({"id": "a", "n": 1})}]


def test_one_item_takes_a_thousand_writes_a_second(calls: Calls) -> None:
    for _ in range(WRITES_A_SECOND + 1):
        calls.write("a")
    calls.write("b")
    calls.transact("b", "a", at=0.9)
    calls.write("a", at=1)
    replies = [reply for _, reply in calls.answers()]
    assert replies.count({}) == WRITES_A_SECOND + 2
    assert replies.count("ThrottlingException") == 1
    assert replies[-2:] == [["None", "ThrottlingError"], {}]


def test_the_ledger_has_every_end_but_those_that_are_counted_as_unwritten() -> None:
    done = burst.run(100, seconds=2)
    ended = len(done.waits) - done.failed - done.unwritten
    usage = [values for (table, *_), values in done.database.items.items() if table == "usage"]
    assert len(done.waits) == 200
    assert sum(day["images"] for day in usage) == ended
    assert sum(day["spent"] for day in usage) == ended * burst.MICROS
    assert sum(day["reserved"] for day in usage) == done.unwritten * burst.MICROS


def test_a_budget_refuses_the_first_job_that_it_has_no_room_for() -> None:
    limits = ClientLimits(daily_budget_micros=3 * burst.MICROS)
    refused = burst.Burst(limits, Random(1))  # noqa: S311 - nothing secret
    refused.time.start(lambda: refused.arrive(10, 1))
    with pytest.raises(BudgetExceededError):
        refused.time.run()
    assert len(refused.waits) == 4


def test_a_run_is_the_same_again() -> None:
    assert burst.run(50, seconds=1).waits == burst.run(50, seconds=1).waits


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "failed 0 of 100; unwritten 0; p50 10 ms, p99 60 ms: met"),
        ({"failed": 1}, "failed 1 of 100; unwritten 0; p50 10 ms, p99 60 ms: missed"),
        ({"unwritten": 1}, "failed 0 of 100; unwritten 1; p50 10 ms, p99 60 ms: missed"),
        (
            {"waits": [0.01] * 98 + [0.061] * 2},
            "failed 0 of 100; unwritten 0; p50 10 ms, p99 61 ms: missed",
        ),
    ],
)
def test_a_row_judges_failures_lost_ends_and_the_slowest(
    changes: dict[str, Any], verdict: str
) -> None:
    waits = [0.01] * 98 + [0.06, 5.0]
    random = Random(1)  # noqa: S311 - nothing secret
    judged = burst.Burst(ClientLimits(), random, **{"waits": waits} | changes)
    assert line(burst.row("name", judged)).endswith(verdict)


def test_each_rate_has_a_row_without_a_budget_and_one_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(burst, "RATES", (1, 2))
    monkeypatch.setattr(burst, "run", partial(burst.run, seconds=1))
    _, *rows, top = burst.measure(1)
    assert [one.name for one in rows] == [
        f"{rate} jobs a second, {budget}" for rate in (1, 2) for budget in ("no budget", "a budget")
    ]
    assert top.text.endswith("burst_2000")
