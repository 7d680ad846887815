"""DynamoDB: the conversion of items to and from Python values, and the calls to a table.

The values are strings, whole numbers, sets of strings, and maps of these.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from sd3.adapters.aws import storage_errors
from sd3.errors import StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

Item = Mapping[str, Any]
"""An item as DynamoDB's API and streams have it: `{"status": {"S": "queued"}}`."""

_SERIALIZER: Final = TypeSerializer()

_DESERIALIZER: Final = TypeDeserializer()

_TRIES: Final = 12

_BACKOFF_SECONDS: Final = 0.02

_MAX_BACKOFF_SECONDS: Final = 1.0
"""All tries together wait for about 4 s. That is long enough for other writers, and well within the
time that an attempt reserves to save its result."""

_FAILED: Final = "A table could not be used."

MAX_ITEMS_READ: Final = 100
"""The most items that DynamoDB reads in one call."""

_BUSY: Final = frozenset(
    ("TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded")
)
"""The cancellation reasons of a transaction that can be retried, since an item was in use."""


def to_item(values: Mapping[str, object]) -> "dict[str, AttributeValueTypeDef]":
    """Return `values` as an item, a key, or the values of an expression."""
    return {name: _SERIALIZER.serialize(value) for name, value in values.items()}


def from_item(item: Item) -> dict[str, Any]:
    """Return the values of an item; numbers as int."""
    return {name: _whole(_DESERIALIZER.deserialize(value)) for name, value in item.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


class ConditionFailedError(Exception):
    """A condition on an item failed, and nothing was written.

    `failed` has the items whose conditions failed, by their position in the transaction. An item is
    empty if it does not exist, or if the write did not request it.
    """

    def __init__(self, failed: Mapping[int, Item]) -> None:
        super().__init__()
        self.failed = failed


class ConflictError(Exception):
    """Items of a transaction were in use by other writes, and nothing was written.

    `positions` are those of the items in the transaction.
    """

    def __init__(self, positions: Collection[int]) -> None:
        super().__init__()
        self.positions = positions


class Table:
    """The table of jobs or of usage, and transactions that write to both."""

    def __init__(
        self,
        client: "DynamoDBClient",
        name: str,
        *,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
    ) -> None:
        self._client, self.name = client, name
        self._sleep, self._jitter = sleep, jitter

    def get(self, item_id: str) -> Item | None:
        """Read an item as it is now, or return None if there is none. Raises StorageError."""
        return self.find({"id": item_id})

    def find(self, key: Mapping[str, object]) -> Item | None:
        """Read the item of a key as it is now, as `get` does."""
        reply = self._call(
            self._client.get_item, TableName=self.name, Key=to_item(key), ConsistentRead=True
        )
        found: Item | None = reply.get("Item")
        return found

    def get_all(self, item_ids: Collection[str], *, is_consistent: bool) -> dict[str, Item]:
        """Read up to MAX_ITEMS_READ items, none of them twice. Return those that exist by id.

        A reply has up to 16 MB. What it leaves out, for this or another reason, is asked for again.
        Raises StorageError.
        """
        found: dict[str, Item] = {}
        keys = [to_item({"id": item_id}) for item_id in item_ids]
        wanted: Any = {self.name: {"Keys": keys, "ConsistentRead": is_consistent}}
        for tried in range(_TRIES):
            if tried:
                self.wait(tried)
            reply = self._call(self._client.batch_get_item, RequestItems=wanted)
            found |= {item["id"]["S"]: item for item in reply["Responses"].get(self.name, ())}
            wanted = reply.get("UnprocessedKeys")
            if not wanted:
                return found
        raise StorageBusyError("A table is too busy.")

    def put(self, item: "Mapping[str, AttributeValueTypeDef]", **condition: Any) -> None:
        """Write an item. Raises ConditionFailedError and StorageError."""
        self._call(self._client.put_item, TableName=self.name, Item=item, **condition)

    def update(self, key: Mapping[str, object], **update: Any) -> Any:
        """Change an item; return DynamoDB's reply. Raises ConditionFailedError and StorageError."""
        return self._call(self._client.update_item, TableName=self.name, Key=to_item(key), **update)

    def put_part(
        self, item: "Mapping[str, AttributeValueTypeDef]", **condition: Any
    ) -> "TransactWriteItemTypeDef":
        """Build the part of a transaction that writes an item."""
        put: Any = {"TableName": self.name, "Item": item, **condition}
        return {"Put": put}

    def transact(self, parts: "Sequence[TransactWriteItemTypeDef]") -> None:
        """Write all of the parts, or none. Raises ConditionFailedError and StorageError.

        botocore gives each call a token, so that DynamoDB applies a call only once even if its
        response is lost.
        """
        self._call(self._client.transact_write_items, TransactItems=parts)

    def transact_once(self, parts: "Sequence[TransactWriteItemTypeDef]") -> None:
        """Do the same without another try.

        Raises ConflictError when an item is in use, ConditionFailedError and StorageError.
        """
        with storage_errors(_FAILED):
            try:
                self._client.transact_write_items(TransactItems=parts)
            except ClientError as error:
                if busy := _busy_positions(error):
                    raise ConflictError(busy) from error
                if failed := _failed_conditions(error):
                    raise ConditionFailedError(failed) from error
                raise

    def wait(self, tried: int) -> None:
        """Wait before the next try of a write that met others, after `tried` tries."""
        longest = min(_BACKOFF_SECONDS * 2.0**tried, _MAX_BACKOFF_SECONDS)
        self._sleep(self._jitter() * longest)

    def query(self, **query: Any) -> Any:
        """Read a page. Raises StorageError."""
        return self._call(self._client.query, TableName=self.name, **query)

    def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        for tried in range(_TRIES):
            if tried:
                self.wait(tried)
            with storage_errors(_FAILED):
                try:
                    return operation(**arguments)
                except ClientError as error:
                    if _is_busy(error):
                        continue
                    if failed := _failed_conditions(error):
                        raise ConditionFailedError(failed) from error
                    raise
        raise StorageBusyError("A table is too busy.")


def _is_busy(error: ClientError) -> bool:
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    return bool(_busy_positions(error))


def _busy_positions(error: ClientError) -> list[int]:
    """Return which items of a transaction were in use."""
    return [at for at, reason in enumerate(_reasons(error)) if reason["Code"] in _BUSY]


def _failed_conditions(error: ClientError) -> dict[int, Item]:
    """Return the items whose conditions failed, by position; none for any other error."""
    if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
        response: Mapping[str, Any] = error.response
        return {0: response.get("Item", {})}
    return {
        position: reason.get("Item", {})
        for position, reason in enumerate(_reasons(error))
        if reason["Code"] == "ConditionalCheckFailed"
    }


def _reasons(error: ClientError) -> Sequence[Mapping[str, Any]]:
    """Return why a transaction was canceled, in the order of its parts."""
    response: Mapping[str, Any] = error.response
    reasons: Sequence[Mapping[str, Any]] = response.get("CancellationReasons", ())
    return reasons
