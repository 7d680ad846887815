"""The jobs table's calls: what is tried again, and what a transaction was canceled for."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from sd3.adapters.dynamodb.table import ConditionFailedError, Table
from sd3.errors import StorageBusyError, StorageError

ITEM = {"job_id": {"S": "a"}}


class Scripted:
    """Raises these errors, one a call, and then succeeds."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        self.calls = 0

    def transact_write_items(self, **_: Any) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return {}

    put_item = transact_write_items


class BusyTable:
    """A table whose client raises these errors, and how long was waited in between."""

    def __init__(self, *errors: Exception) -> None:
        self.client = Scripted(errors)
        self.waits: list[float] = []
        self.table = Table(
            cast("Any", self.client), "jobs", sleep=self.waits.append, jitter=lambda: 0.5
        )

    def transact(self) -> None:
        self.table.transact([])


def canceled(*codes: str, item: Any = None) -> ClientError:
    reasons = [{"Code": code, **({"Item": item} if item else {})} for code in codes]
    response: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": ""},
        "CancellationReasons": reasons,
    }
    return ClientError(response, "TransactWriteItems")


def rejected(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutItem")


@pytest.mark.parametrize(
    "busy",
    [
        canceled("None", "TransactionConflict"),
        canceled("ConditionalCheckFailed", "TransactionConflict"),
        canceled("ThrottlingError"),
        rejected("TransactionConflictException"),
    ],
)
def test_what_is_busy_is_tried_again_after_ever_longer_waits(busy: ClientError) -> None:
    table = BusyTable(busy, busy, busy)
    table.transact()
    assert table.client.calls == 4
    assert table.waits == [0.02, 0.04, 0.08]


def test_what_stays_busy_is_given_up() -> None:
    table = BusyTable(*[canceled("TransactionConflict")] * 20)
    with pytest.raises(StorageBusyError, match="too busy"):
        table.transact()
    assert table.client.calls == 12
    assert sum(table.waits) < 5
    assert max(table.waits) == 0.5


def test_failed_conditions_are_listed_by_position_with_the_stored_item() -> None:
    table = BusyTable(
        canceled("None", "ConditionalCheckFailed", "ConditionalCheckFailed", item=ITEM)
    )
    with pytest.raises(ConditionFailedError) as caught:
        table.transact()
    assert caught.value.failed == {1: ITEM, 2: ITEM}
    assert table.client.calls == 1


def test_a_condition_of_a_put_is_the_first_one() -> None:
    with pytest.raises(ConditionFailedError) as caught:
        BusyTable(rejected("ConditionalCheckFailedException")).table.put({})
    assert caught.value.failed == {0: {}}


@pytest.mark.parametrize(
    "error",
    [
        canceled("ValidationError", "None"),
        rejected("AccessDeniedException"),
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
    ],
)
def test_every_other_failure_is_one_of_storage(error: Exception) -> None:
    table = BusyTable(error)
    with pytest.raises(StorageError):
        table.transact()
    assert table.client.calls == 1


class Batches:
    """Has these items. Its first replies leave out all but so many of those that are asked for."""

    def __init__(self, *item_ids: str, served: Sequence[int] = ()) -> None:
        self.item_ids = item_ids
        self.served = list(served)
        self.asked: list[int] = []

    def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803 - botocore's name
        wanted = RequestItems["jobs"]
        keys = wanted["Keys"]
        self.asked.append(len(keys))
        count = self.served.pop(0) if self.served else len(keys)
        items = [key for key in keys[:count] if key["id"]["S"] in self.item_ids]
        left = {"jobs": {**wanted, "Keys": keys[count:]}} if keys[count:] else {}
        return {"Responses": {"jobs": items}, "UnprocessedKeys": left}


def read_all(client: Batches, *item_ids: str) -> tuple[list[str], list[float]]:
    """Return the ids of the items that were read, and the waits in between."""
    waits: list[float] = []
    table = Table(cast("Any", client), "jobs", sleep=waits.append, jitter=lambda: 0.5)
    return sorted(table.get_all(item_ids, is_consistent=False)), waits


def test_items_that_do_not_exist_are_left_out() -> None:
    assert read_all(Batches("a", "c"), "a", "b", "c") == (["a", "c"], [])


def test_what_a_reply_leaves_out_is_asked_for_again_after_ever_longer_waits() -> None:
    client = Batches("a", "b", "c", served=[1, 0])
    assert read_all(client, "a", "b", "c") == (["a", "b", "c"], [0.02, 0.04])
    assert client.asked == [3, 2, 2]


def test_items_that_are_left_out_again_and_again_are_given_up() -> None:
    client = Batches("a", served=[0] * 20)
    with pytest.raises(StorageBusyError, match="too busy"):
        read_all(client, "a")
    assert len(client.asked) == 12
