"""All that the tables hold of one client. Only operators read and erase it, and no function."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.job_items import epoch_seconds, key_prefix, result_prefix
from sd3.adapters.dynamodb.table import from_item, to_item
from sd3.adapters.dynamodb.usage_items import KEEP_MARK, mark_key, mark_key_of
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef

    from sd3.adapters.dynamodb.usage_items import Key
    from sd3.domain.job import Job

Values = dict[str, Any]
"""The values of an item of the jobs table: of a job, a deleted job, a key, or a result."""

PAGE_SECONDS: Final = 0.2
"""The pause after each page of 1 MB. So a scan takes at most a fifth of what one partition gives,
and leaves the rest to the service."""

_ITEMS_IN_A_WRITE: Final = 25
_TRIES: Final = 10


class ClientItems:
    """The items of a client in the tables of jobs, usage, webhooks and batches.

    Keys, results and deleted jobs are in no index, so the jobs table is scanned. A million jobs of
    2 KB cost about $0.06. Every method raises StorageError, after which it can be called again.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        client_id: str,
        *,
        jobs_table: str,
        usage_table: str,
        webhooks_table: str,
        batches_table: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._client_id = client, client_id
        self._jobs_table, self._usage_table = jobs_table, usage_table
        self._webhooks_table, self._batches_table = webhooks_table, batches_table
        self._sleep = sleep

    def pages(self) -> Iterator[list[Values]]:
        """Read the client's items of the jobs table; many pages have none."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._jobs_table,
            ConsistentRead=True,
            FilterExpression="client_id = :client OR begins_with(id, :keys)"
            " OR begins_with(id, :results)",
            ExpressionAttributeValues=to_item(
                {
                    ":client": self._client_id,
                    ":keys": key_prefix(self._client_id),
                    ":results": result_prefix(self._client_id),
                }
            ),
        )
        with storage_errors("The jobs table could not be read."):
            for number, page in enumerate(pages):
                if number:
                    self._sleep(PAGE_SECONDS)
                yield [from_item(item) for item in page["Items"]]

    def remove(self, items: Iterable[Values], *, now: datetime) -> None:
        """Remove items of the jobs table, and keep their last writes out of the ledger.

        The table's stream can bring a write later than this. So each write gets the mark by which
        the ledger knows it as recorded. A mark names no client, and expires.
        """
        chosen = list(items)
        late = [each for each in chosen if _may_be_late(each, now=now)]
        ttl = to_item({"ttl": epoch_seconds(now + KEEP_MARK)})
        marks = [{**key, **ttl} for each in late for key in _marks(each)]
        self._write(self._usage_table, [{"PutRequest": {"Item": mark}} for mark in marks])
        self._delete(self._jobs_table, [{"id": each["id"]} for each in chosen])

    def is_recorded(self, job: "Job") -> bool:
        """Return whether the ledger has the last write of a job."""
        with storage_errors("The usage table could not be read."):
            reply = self._client.get_item(
                TableName=self._usage_table, Key=mark_key(job), ConsistentRead=True
            )
        return "Item" in reply

    def usage_keys(self) -> list[Values]:
        """Read the keys of the client's items of the usage table."""
        return self._keys(self._usage_table, "day")

    def remove_usage(self) -> None:
        """Remove the client's items of the usage table."""
        self._delete(self._usage_table, self.usage_keys())

    def webhook_keys(self) -> list[Values]:
        """Read the keys of the client's items of the webhooks table."""
        return self._keys(self._webhooks_table, "item")

    def remove_webhooks(self) -> None:
        """Remove the client's endpoint, and the log of its deliveries."""
        self._delete(self._webhooks_table, self.webhook_keys())

    def batch_keys(self) -> list[Values]:
        """Read the keys of the client's items of the batches table."""
        return self._keys(self._batches_table, "item")

    def remove_batches(self) -> None:
        """Remove the client's batches, of which no more jobs are made then."""
        self._delete(self._batches_table, self.batch_keys())

    def _keys(self, table: str, sort_key: str) -> list[Values]:
        query = self._client.get_paginator("query").paginate(
            TableName=table,
            KeyConditionExpression="client_id = :client",
            ExpressionAttributeValues=to_item({":client": self._client_id}),
            ExpressionAttributeNames={"#sort": sort_key},
            ProjectionExpression="client_id, #sort",
            ConsistentRead=True,
        )
        with storage_errors("A table could not be read."):
            return [from_item(item) for page in query for item in page["Items"]]

    def _delete(self, table: str, keys: Iterable[Mapping[str, object]]) -> None:
        self._write(table, [{"DeleteRequest": {"Key": to_item(key)}} for key in keys])

    def _write(self, table: str, requests: "Sequence[WriteRequestTypeDef]") -> None:
        left = iter(requests)
        while batch := list(islice(left, _ITEMS_IN_A_WRITE)):
            self._write_batch(table, batch)

    def _write_batch(self, table: str, batch: "Sequence[WriteRequestTypeDef]") -> None:
        """Write a batch; DynamoDB returns what it has no room for."""
        wanted: Any = {table: batch}
        for tried in range(_TRIES):
            with storage_errors("A table could not be written."):
                reply = self._client.batch_write_item(RequestItems=wanted)
            wanted = reply.get("UnprocessedItems")
            if not wanted:
                return
            self._sleep(PAGE_SECONDS * 2.0**tried)
        raise StorageError("A table is too busy.")


def _may_be_late(values: Values, *, now: datetime) -> bool:
    """Return whether the stream may not have brought all writes of an item; keys have none."""
    if "document" not in values:
        return "last_version" in values
    ended = json.loads(values["document"]).get("completed_at")
    return ended is None or datetime.fromisoformat(ended) > now - KEEP_MARK


def _marks(values: Values) -> "Iterator[Key]":
    """Name the writes of a job so far, and two more: it can be canceled and settled meanwhile."""
    last = values["version"] if "version" in values else values["last_version"]
    for version in range(last + 3):
        yield mark_key_of(values["id"], values["created_at"], version)
