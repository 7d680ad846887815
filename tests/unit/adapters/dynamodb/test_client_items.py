"""How the items of a client are erased from tables that are large or busy."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.adapters.dynamodb.client_items import PAGE_SECONDS, ClientItems
from sd3.adapters.dynamodb.job_items import item_from
from sd3.adapters.dynamodb.table import from_item
from sd3.adapters.dynamodb.usage_items import KEEP_MARK
from sd3.domain.job import JobStatus
from sd3.errors import StorageError
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import NOON

SUCCEEDED = JobStatus.SUCCEEDED


class BusyDynamoDB:
    """Takes one write of each call, for as many calls as it has room for; scans in pages."""

    def __init__(self, *, room: int = 100, pages: int = 1) -> None:
        self.room, self.pages = room, pages
        self.slept: list[float] = []
        self.written: dict[str, list[Any]] = {"jobs": [], "usage": []}

    def batch_write_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        [(table, requests)] = RequestItems.items()
        assert 0 < len(requests) <= 25
        if not self.room:
            return {"UnprocessedItems": RequestItems}
        self.room -= 1
        self.written[table].append(requests[0])
        return {"UnprocessedItems": {table: requests[1:]} if requests[1:] else {}}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: Any) -> Any:
        return [{"Items": []}] * self.pages


def items(client: Any) -> ClientItems:
    return ClientItems(
        client,
        "ann",
        jobs_table="jobs",
        usage_table="usage",
        webhooks_table="webhooks",
        batches_table="batches",
        sleep=client.slept.append,
    )


def ended(*, ago: timedelta) -> dict[str, Any]:
    return from_item(item_from(job(status=SUCCEEDED, completed_at=NOON - ago, version=2)))


def test_what_a_busy_table_does_not_take_is_written_again() -> None:
    client = BusyDynamoDB()
    items(client).remove([ended(ago=timedelta(hours=1))], now=NOON)
    marks = [from_item(one["PutRequest"]["Item"])["day"] for one in client.written["usage"]]
    assert marks == [f"{NOON.isoformat()}#{version}" for version in range(5)]
    assert len(client.written["jobs"]) == 1
    assert len(client.slept) == 4


def test_a_table_that_takes_nothing_is_a_storage_error_before_anything_is_removed() -> None:
    client = BusyDynamoDB(room=2)
    with pytest.raises(StorageError):
        items(client).remove([ended(ago=timedelta(hours=1))], now=NOON)
    assert not client.written["jobs"]


def test_a_job_of_which_the_stream_can_have_nothing_more_needs_no_marks() -> None:
    client = BusyDynamoDB()
    items(client).remove([ended(ago=KEEP_MARK + timedelta(hours=1))], now=NOON)
    assert not client.written["usage"]
    assert len(client.written["jobs"]) == 1


def test_a_large_table_is_scanned_slowly() -> None:
    client = BusyDynamoDB(pages=4)
    assert [*items(client).pages()] == [[]] * 4
    assert client.slept == [PAGE_SECONDS] * 3
