"""The batches table: the records of batches, their parts, and the lines that were refused."""

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from sd3.adapters.dynamodb.job_items import KEEP_KEY, epoch_seconds
from sd3.adapters.dynamodb.table import ConditionFailedError, Item, Table, from_item, to_item
from sd3.domain.batch import BATCH_ID, OPEN, Batch, BatchKey, BatchPart, RefusedLine
from sd3.domain.batch_lines import LineRange
from sd3.errors import ChangedError, GoneError, NotFoundError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH: Final = "batch#"
_PART: Final = "part#"
_LINE: Final = "line#"
_KEY: Final = "key#"


class BatchStore:
    """Batches in DynamoDB, by client. Everything of a batch goes when the batch expires.

    An item of a part has the numbers of the lines that have ended as a set, in which a line is
    counted once however often its end is told. Parts are counted by themselves, so that the ends
    of ten thousand lines do not meet in one item.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._table = Table(client, table, sleep=sleep, jitter=jitter)

    def create(self, batch: Batch, key: str | None, *, fingerprint: str) -> BatchKey | None:
        """Write a new batch and its Idempotency-Key; return what has the key already.

        That of a file of the inbox is kept as long as the batch: its event can come days later.
        Raises StorageError.
        """
        new = {"ConditionExpression": "attribute_not_exists(#item)", **_ITEM}
        if key is None:
            self._table.put(_item_of(batch), **new)
            return None
        values = {
            "client_id": batch.client_id,
            "item": _key_of(key),
            "batch_id": batch.id,
            "fingerprint": fingerprint,
            "ttl": epoch_seconds(batch.expires_at if batch.inbox else batch.created_at + KEEP_KEY),
        }
        put_key = self._table.put_part(
            to_item(values),
            ConditionExpression="attribute_not_exists(#item) OR #ttl <= :now OR batch_id = :id",
            ExpressionAttributeNames={"#item": "item", "#ttl": "ttl"},
            ExpressionAttributeValues=to_item(
                {":now": epoch_seconds(batch.created_at), ":id": batch.id}
            ),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        try:
            self._table.transact([put_key, self._table.put_part(_item_of(batch))])
        except ConditionFailedError as error:
            return _key_from(error.failed[0])
        return None

    def find_key(self, client_id: str, key: str, *, now: datetime) -> BatchKey | None:
        """Find the batch of a client's Idempotency-Key. Raises StorageError."""
        item = self._table.find({"client_id": client_id, "item": _key_of(key)})
        if item is None or from_item(item)["ttl"] <= now.timestamp():
            return None
        return _key_from(item)

    def find(self, client_id: str, batch_id: str) -> Batch | None:
        """Read a batch as it is now. Raises StorageError."""
        item = self._table.find({"client_id": client_id, "item": _BATCH + batch_id})
        return _batch_from(from_item(item)) if item else None

    def get(self, client_id: str, batch_id: str, *, now: datetime) -> Batch:
        """Read a client's batch. Raises NotFoundError, GoneError and StorageError."""
        is_id = BATCH_ID.fullmatch(batch_id)  # DynamoDB refuses a longer key as an error
        batch = self.find(client_id, batch_id) if is_id else None
        if batch is None:
            raise NotFoundError("There is no such batch.")
        if batch.expires_at <= now:
            raise GoneError("The batch has expired.")
        return batch

    def save(self, batch: Batch) -> Batch:
        """Write the next state of a batch. Raises ChangedError and StorageError."""
        stored = batch.model_copy(update={"version": batch.version + 1})
        try:
            self._table.put(
                _item_of(stored),
                ConditionExpression="version = :read",
                ExpressionAttributeValues=to_item({":read": batch.version}),
            )
        except ConditionFailedError as error:
            raise ChangedError("The batch has changed meanwhile.") from error
        return stored

    def page(
        self, client_id: str, *, limit: int, cursor: str | None, now: datetime
    ) -> tuple[list[Batch], str | None]:
        """Read a page of a client's batches, newest first, and the cursor of the next page.

        Raises StorageError.
        """
        start = {}
        if cursor:
            last = to_item({"client_id": client_id, "item": _BATCH + cursor})
            start = {"ExclusiveStartKey": last}
        reply = self._query(client_id, _BATCH, ScanIndexForward=False, Limit=limit, **start)
        found = [_batch_from(from_item(item)) for item in reply["Items"]]
        end = reply.get("LastEvaluatedKey")
        next_cursor = from_item(end)["item"].removeprefix(_BATCH) if end else None
        return [batch for batch in found if batch.expires_at > now], next_cursor

    def count_open(self, client_id: str) -> int:
        """Count a client's open batches, of its latest thousand or so. Raises StorageError."""
        named = {f":status{at}": status for at, status in enumerate(OPEN)}
        reply = self._query(
            client_id,
            _BATCH,
            named,
            ScanIndexForward=False,
            Select="COUNT",
            FilterExpression=f"#status IN ({', '.join(named)})",
            ExpressionAttributeNames={"#item": "item", "#status": "status"},
        )
        count: int = reply["Count"]
        return count

    def add_parts(self, batch: Batch, ranges: Iterable[LineRange]) -> None:
        """Write the parts of a batch; one that is there stays as it is. Raises StorageError."""
        for number, each in enumerate(ranges):
            item = to_item(
                {
                    "client_id": batch.client_id,
                    "item": _part_of(batch.id, number),
                    "ttl": epoch_seconds(batch.expires_at),
                    "completed": 0,
                    "cost_micros": 0,
                    **each._asdict(),
                }
            )
            try:
                self._table.put(item, ConditionExpression="attribute_not_exists(#item)", **_ITEM)
            except ConditionFailedError:
                continue

    def parts(self, client_id: str, batch_id: str) -> list[BatchPart]:
        """Read all parts of a batch, in order, as they are now. Raises StorageError."""
        return [_part_from(values) for values in self._all(client_id, f"{_PART}{batch_id}#")]

    def part(self, client_id: str, batch_id: str, number: int) -> BatchPart | None:
        """Read one part as it is now. Raises StorageError."""
        item = self._table.find({"client_id": client_id, "item": _part_of(batch_id, number)})
        return _part_from(from_item(item)) if item else None

    def note_made(self, client_id: str, batch_id: str, number: int) -> None:
        """Note that every line of a part has a job or was refused. Raises StorageError."""
        try:
            self._table.update(
                {"client_id": client_id, "item": _part_of(batch_id, number)},
                UpdateExpression="SET is_made = :made",
                ConditionExpression="attribute_exists(#item)",
                ExpressionAttributeValues=to_item({":made": True}),
                **_ITEM,
            )
        except ConditionFailedError:
            return  # the client was erased

    def note_end(
        self, client_id: str, batch_id: str, part: int, line: int, *, succeeded: bool, micros: int
    ) -> BatchPart | None:
        """Count the end of a line, once; return its part as it is then, None if there is none.

        Raises StorageError.
        """
        key = {"client_id": client_id, "item": _part_of(batch_id, part)}
        counted = {":completed": int(succeeded), ":micros": micros}
        try:
            reply = self._table.update(
                key,
                UpdateExpression="ADD ended :lines, completed :completed, cost_micros :micros",
                ConditionExpression="attribute_exists(#item) AND NOT contains(ended, :line)",
                ExpressionAttributeValues=to_item(
                    {":lines": {str(line)}, ":line": str(line), **counted}
                ),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_ITEM,
            )
        except ConditionFailedError as error:
            item = error.failed[0]
            return _part_from(from_item(item)) if item else None
        return _part_from(from_item(reply["Attributes"]))

    def refuse(self, batch: Batch, line: RefusedLine) -> None:
        """Write why a line has no job. Raises StorageError."""
        values = {
            "client_id": batch.client_id,
            "item": _line_of(batch.id, line.line),
            "ttl": epoch_seconds(batch.expires_at),
            "document": line.model_dump_json(),
        }
        self._table.put(to_item(values))

    def refused(self, client_id: str, batch_id: str) -> dict[int, RefusedLine]:
        """Read all lines of a batch that were refused, by number. Raises StorageError."""
        found = self._all(client_id, f"{_LINE}{batch_id}#")
        lines = (RefusedLine.model_validate_json(values["document"]) for values in found)
        return {line.line: line for line in lines}

    def _all(self, client_id: str, prefix: str) -> Iterable[Mapping[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            reply = self._query(client_id, prefix, ConsistentRead=True, **start)
            yield from map(from_item, reply["Items"])
            if "LastEvaluatedKey" not in reply:
                return
            start = {"ExclusiveStartKey": reply["LastEvaluatedKey"]}

    def _query(
        self,
        client_id: str,
        prefix: str,
        values: Mapping[str, object] | None = None,
        **query: Any,
    ) -> Any:
        return self._table.query(
            KeyConditionExpression="client_id = :client AND begins_with(#item, :prefix)",
            ExpressionAttributeValues=to_item(
                {":client": client_id, ":prefix": prefix, **(values or {})}
            ),
            **{**_ITEM, **query},
        )


_ITEM: Final[Mapping[str, Any]] = {"ExpressionAttributeNames": {"#item": "item"}}


def _key_of(key: str) -> str:
    return _KEY + hashlib.sha256(key.encode()).hexdigest()


def _part_of(batch_id: str, number: int) -> str:
    return f"{_PART}{batch_id}#{number:05d}"


def _line_of(batch_id: str, number: int) -> str:
    return f"{_LINE}{batch_id}#{number:05d}"


def _item_of(batch: Batch) -> Any:
    return to_item(
        {
            "client_id": batch.client_id,
            "item": _BATCH + batch.id,
            "status": batch.status,
            "version": batch.version,
            "ttl": epoch_seconds(batch.expires_at),
            "document": batch.model_dump_json(exclude_none=True),
        }
    )


def _batch_from(values: Mapping[str, Any]) -> Batch:
    try:
        return Batch.model_validate_json(values["document"])
    except ValidationError:  # its text quotes metadata
        raise StorageError("A batch in the table cannot be read.") from None


def _key_from(item: Item) -> BatchKey:
    values = from_item(item)
    return BatchKey(values["batch_id"], values["fingerprint"])


def _part_from(values: Mapping[str, Any]) -> BatchPart:
    ended: Sequence[str] = values.get("ended", ())
    return BatchPart(
        number=int(values["item"].rpartition("#")[2]),
        range=LineRange(*(values[name] for name in LineRange._fields)),
        is_made=values.get("is_made", False),
        ended=frozenset(map(int, ended)),
        completed=values["completed"],
        cost_micros=values["cost_micros"],
    )
