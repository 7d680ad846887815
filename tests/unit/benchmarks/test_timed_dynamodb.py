"""The model of DynamoDB: what it refuses, returns and tells, and when."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks.deployed import Index, Table
from benchmarks.partitions import UNITS_A_SECOND
from benchmarks.timed_dynamodb import (
    READ_SECONDS,
    REFUSAL_SECONDS,
    TRANSACTION_SECONDS,
    WRITE_SECONDS,
    Change,
    TimedDynamoDB,
)
from benchmarks.virtual_time import VirtualTime
from benchmarks.wire import UNIT_BYTES, to_values, to_wire

TABLES = {
    "t": Table(("id",), {"by_kind": Index(("kind", "at"), frozenset(("n",)))}),
    "days": Table(("owner", "day")),
}
NEW: dict[str, Any] = {
    "ConditionExpression": "attribute_not_exists(#id)",
    "ExpressionAttributeNames": {"#id": "id"},
}


class Calls:
    """Calls of a model of DynamoDB, each at its moment of virtual time."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.database = TimedDynamoDB(self.time, TABLES)
        self.replies: list[tuple[float, Any]] = []
        """When each call was answered, and the reply, or the error's code or reasons."""

    def add(self, operation: str, *, at: float = 0.0, **request: Any) -> None:
        def call() -> None:
            try:
                reply = getattr(self.database, operation)(**request)
            except ClientError as error:
                reply = _reasons(error)
            self.replies.append((round(self.time.now, 3), reply))

        self.time.start(call, after=at)

    def write(self, item: str, *, at: float = 0.0, **more: Any) -> None:
        self.add("put_item", at=at, **put(item, **more))

    def update(self, item: str, update: str, *, at: float = 0.0, **more: Any) -> None:
        values = to_wire({":one": 1})
        key = to_wire({"id": item})
        request = {"Key": key, "UpdateExpression": update, "ExpressionAttributeValues": values}
        self.add("update_item", at=at, TableName="t", **request | more)

    def transact(self, *items: str, at: float = 0.0, token: str | None = None, **more: Any) -> None:
        parts = [{"Put": put(item, **more)} for item in items]
        self.add("transact_write_items", at=at, TransactItems=parts, ClientRequestToken=token)

    def answers(self) -> list[tuple[float, Any]]:
        self.time.run()
        return self.replies

    def last(self) -> Any:
        return self.answers()[-1][1]


@pytest.fixture
def calls() -> Calls:
    return Calls()


def put(item: str, *, values: dict[str, Any] | None = None, **condition: Any) -> dict[str, Any]:
    return {"TableName": "t", "Item": to_wire({"id": item, "n": 1} | (values or {})), **condition}


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
    calls.update("b", "ADD n :one", at=0.003)
    calls.transact("b", "c", at=TRANSACTION_SECONDS + 0.001)
    assert calls.answers() == [
        (0.001 + REFUSAL_SECONDS, ["None", "TransactionConflict"]),
        (0.002 + REFUSAL_SECONDS, "TransactionConflictException"),
        (0.003 + REFUSAL_SECONDS, "TransactionConflictException"),
        (TRANSACTION_SECONDS, {}),
        (2 * TRANSACTION_SECONDS + 0.001, {}),
    ]
    assert calls.database.conflicts == 3


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
    calls.write("a")
    calls.transact("b", "a", at=WRITE_SECONDS, **NEW)
    calls.write("a", at=2 * WRITE_SECONDS, **NEW)
    assert [reply for _, reply in calls.answers()] == [
        {},
        ["None", "ConditionalCheckFailed"],
        "ConditionalCheckFailedException",
    ]
    assert ("t", "b") not in calls.database.items


def test_a_transaction_can_check_change_and_remove_items(calls: Calls) -> None:
    for item in "abc":
        calls.write(item)
    key = {name: {"TableName": "t", "Key": to_wire({"id": name})} for name in "abc"}
    change = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": to_wire({":n": 2})}
    there = {"ConditionExpression": "attribute_exists(id)"}
    parts = [
        {"ConditionCheck": key["a"] | there},
        {"Update": key["b"] | change},
        {"Delete": key["c"]},
    ]
    calls.add("transact_write_items", at=1, TransactItems=parts)
    calls.answers()
    found = {at[1]: stored.values["n"] for at, stored in calls.database.items.items()}
    assert found == {"a": 1, "b": 3}


def test_a_read_waits_for_no_transaction_and_sees_what_was_before_it(calls: Calls) -> None:
    calls.transact("a")
    for at in (0.001, TRANSACTION_SECONDS + 0.001):
        calls.add("get_item", at=at, TableName="t", Key=to_wire({"id": "a"}), ConsistentRead=True)
    replies = [reply for _, reply in calls.answers()]
    assert replies == [{}, {}, {"Item": to_wire({"id": "a", "n": 1})}]


def test_a_transaction_with_a_known_token_is_applied_once(calls: Calls) -> None:
    change = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": to_wire({":n": 2})}
    part = {"Update": {"TableName": "t", "Key": to_wire({"id": "a"}), **change}}
    for at, token in ((0, "x"), (1, "x"), (2, "y"), (3, None), (4, None)):
        calls.add("transact_write_items", at=at, TransactItems=[part], ClientRequestToken=token)
    assert [reply for _, reply in calls.answers()] == [{}] * 5
    assert calls.database.items["t", "a"].values["n"] == 8


@pytest.mark.parametrize(
    ("wanted", "returned"),
    [("NONE", None), ("ALL_OLD", {"id": "a", "n": 1}), ("ALL_NEW", {"id": "a", "n": 2})],
)
def test_an_update_returns_the_item_that_is_wanted(
    calls: Calls, wanted: str, returned: dict[str, Any] | None
) -> None:
    calls.write("a")
    calls.update("a", "ADD n :one", at=1, ReturnValues=wanted)
    assert calls.last() == ({"Attributes": to_wire(returned)} if returned else {})


def test_a_failed_condition_returns_the_item_that_is_wanted() -> None:
    calls = Calls()
    calls.write("a")
    calls.answers()
    wanted: dict[str, Any] = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    errors: list[Any] = []

    def fail() -> None:
        with pytest.raises(ClientError) as caught:
            calls.database.put_item(**put("a", **NEW, **wanted))
        errors.append(caught.value.response)
        with pytest.raises(ClientError) as caught:
            calls.database.transact_write_items(TransactItems=[{"Put": put("a", **NEW, **wanted)}])
        errors.extend(caught.value.response["CancellationReasons"])

    calls.time.start(fail)
    calls.time.run()
    assert [error["Item"] for error in errors] == [to_wire({"id": "a", "n": 1})] * 2


def test_one_item_takes_a_thousand_write_units_a_second(calls: Calls) -> None:
    for _ in range(UNITS_A_SECOND + 1):
        calls.write("a")
    calls.write("b")
    calls.transact("b", "a", at=0.9)
    calls.write("a", at=1)
    replies = [reply for _, reply in calls.answers()]
    assert replies.count({}) == UNITS_A_SECOND + 2
    assert replies.count("ThrottlingException") == 1
    assert replies[-2:] == [["None", "ThrottlingError"], {}]
    assert calls.database.throttled == 2


def test_a_unit_is_a_kibibyte_and_a_transaction_takes_two(calls: Calls) -> None:
    long = {"text": "x" * UNIT_BYTES}
    calls.write("a")
    calls.write("b", values=long)
    calls.transact("c", at=1)
    calls.transact("d", at=1, values=long)
    calls.answers()
    assert calls.database.units == {"t": 1 + 2 + 2 + 4}


def test_a_key_of_an_index_with_too_many_writes_holds_up_the_table(calls: Calls) -> None:
    for number in range(UNITS_A_SECOND):
        calls.write(f"item-{number}", values={"kind": "hot", "at": f"{number}"})
    calls.write("one more", at=0.5, values={"kind": "hot", "at": "0"})
    calls.transact("two more", at=0.5, values={"kind": "hot", "at": "0"})
    calls.write("another kind", at=0.5, values={"kind": "cold", "at": "0"})
    calls.write("in no index", at=0.5)
    assert [reply for _, reply in calls.answers()[UNITS_A_SECOND:]] == [
        "ThrottlingException",
        ["ThrottlingError"],
        {},
        {},
    ]


def test_an_index_is_written_when_what_it_has_of_an_item_changes(calls: Calls) -> None:
    values = {"kind": "k", "at": "1", "more": "x"}
    calls.write("a", values=values)
    calls.write("a", at=1, values=values | {"more": "y"})
    calls.write("a", at=2, values=values | {"n": 2})
    calls.write("a", at=3, values=values | {"n": 2, "at": "2"})
    calls.answers()
    assert calls.database.units["t/by_kind"] == 1 + 0 + 1 + 2


@pytest.mark.parametrize(
    ("condition", "more", "expected"),
    [
        ("#o = :a", {}, ["1", "2", "2#lot", "3"]),
        ("#o = :a", {"ScanIndexForward": False}, ["3", "2#lot", "2", "1"]),
        ("#o = :a AND #day BETWEEN :two AND :three", {}, ["2", "2#lot", "3"]),
        ("#o = :a AND begins_with(#day, :two)", {}, ["2", "2#lot"]),
        ("#o = :a AND #day <= :two", {}, ["1", "2"]),
        ("#o = :b", {}, []),
        ("#o = :a", {"FilterExpression": "n > :n"}, ["2#lot", "3"]),
        ("#o = :a", {"Limit": 2}, ["1", "2"]),
    ],
)
def test_a_query_reads_what_has_one_partition_key(
    calls: Calls, condition: str, more: dict[str, Any], expected: list[str]
) -> None:
    for number, day in enumerate(("3", "1", "2#lot", "2")):
        item = to_wire({"owner": "a", "day": day, "n": (4, 1, 3, 2)[number]})
        calls.add("put_item", TableName="days", Item=item)
    calls.add("put_item", TableName="days", Item=to_wire({"owner": "c", "day": "1"}))
    given = {":a": "a", ":b": "b", ":two": "2", ":three": "3", ":n": 2}
    names = {"#o": "owner", "#day": "day"}
    calls.add(
        "query",
        at=1,
        TableName="days",
        KeyConditionExpression=condition,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=to_wire(given),
        ConsistentRead=True,
        **more,
    )
    assert [to_values(item)["day"] for item in calls.last()["Items"]] == expected
    assert calls.replies[-1][0] == 1 + READ_SECONDS


@pytest.mark.parametrize("is_forward", [True, False])
def test_the_pages_of_a_query_of_an_index_have_each_item_once(
    calls: Calls, *, is_forward: bool
) -> None:
    for number in range(5):
        calls.write(f"{number}", values={"kind": "k", "at": f"{number // 2}", "more": "x"})
    query: dict[str, Any] = {
        "TableName": "t",
        "IndexName": "by_kind",
        "KeyConditionExpression": "kind = :k",
        "ExpressionAttributeValues": to_wire({":k": "k"}),
        "ScanIndexForward": is_forward,
        "Limit": 2,
    }
    found: list[dict[str, Any]] = []

    def read() -> None:
        start: dict[str, Any] = {}
        while True:
            page = calls.database.query(**query, **start)
            found.extend(map(to_values, page["Items"]))
            if "LastEvaluatedKey" not in page:
                return
            assert to_values(page["LastEvaluatedKey"]).keys() == {"id", "kind", "at"}
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    calls.time.start(read, after=1)
    calls.time.run()
    ids = [item["id"] for item in found]
    assert ids == sorted("01234", reverse=not is_forward)
    assert found[0].keys() == {"id", "kind", "at", "n"}, "what the index has"


def test_a_query_of_an_index_does_not_find_an_item_that_has_left_it(calls: Calls) -> None:
    calls.write("a", values={"kind": "k", "at": "1"})
    calls.write("a", at=1)
    calls.add(
        "query",
        at=2,
        TableName="t",
        IndexName="by_kind",
        KeyConditionExpression="kind = :k",
        ExpressionAttributeValues=to_wire({":k": "k"}),
    )
    assert calls.last()["Items"] == []


def test_many_items_are_read_at_once(calls: Calls) -> None:
    calls.write("a")
    keys = [to_wire({"id": name}) for name in "ab"]
    calls.add("batch_get_item", at=1, RequestItems={"t": {"Keys": keys}})
    assert calls.last() == {
        "Responses": {"t": [to_wire({"id": "a", "n": 1})]},
        "UnprocessedKeys": {},
    }


def test_every_change_is_told_once_and_in_order(calls: Calls) -> None:
    changes: list[Change] = []
    calls.database.watch("t", changes.append)
    calls.write("a")
    calls.write("a", at=1)
    calls.write("a", at=2, **NEW)
    calls.update("a", "ADD n :one", at=3)
    calls.transact("b", "c", at=4)
    calls.add("delete_item", at=5, TableName="t", Key=to_wire({"id": "a"}))
    calls.add("delete_item", at=6, TableName="t", Key=to_wire({"id": "a"}))
    calls.answers()
    seen = [
        (change.address[1], *(image and to_values(image)["n"] for image in change[1:]))
        for change in changes
    ]
    assert seen == [("a", None, 1), ("a", 1, 2), ("b", None, 1), ("c", None, 1), ("a", 2, None)]


def test_a_transaction_does_not_write_an_item_twice(calls: Calls) -> None:
    calls.transact("a", "a")
    with pytest.raises(ValueError, match="none twice"):
        calls.answers()
