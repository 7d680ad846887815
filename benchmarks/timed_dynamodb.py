"""DynamoDB in virtual time, where items in a transaction, and items with many writes, refuse."""

import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from benchmarks.expressions import Values, holds, updated
from benchmarks.virtual_time import VirtualTime
from sd3.adapters.dynamodb.table import from_item, to_item

TRANSACTION_SECONDS: Final = 0.010
WRITE_SECONDS: Final = 0.005
READ_SECONDS: Final = 0.005
REFUSAL_SECONDS: Final = 0.004
WRITES_A_SECOND: Final = 1000
"""Of one item. A write whose condition failed counts, as DynamoDB charges for it; one that was
refused for a conflict does not. A write in a transaction counts as one. DynamoDB counts it as two,
but an item can be in no more than 100 transactions a second, one after another."""

_CONFLICT: Final = "TransactionConflict"
_THROTTLED: Final = "ThrottlingError"
_FAILED: Final = "ConditionalCheckFailed"
_ERRORS: Final[Mapping[str, str]] = {
    _CONFLICT: "TransactionConflictException",
    _THROTTLED: "ThrottlingException",
    _FAILED: "ConditionalCheckFailedException",
}
"""What a single write raises for a reason that a transaction would name."""

Address = tuple[str, ...]
"""A table's name, and the key of an item."""


class _Write(NamedTuple):
    address: Address
    request: Mapping[str, Any]

    @property
    def given(self) -> Values:
        return from_item(self.request.get("ExpressionAttributeValues", {}))

    def expression(self, kind: str) -> str:
        """Return an expression of the request, with the names of attributes put in."""
        names = self.request.get("ExpressionAttributeNames", {})
        return re.sub(r"#\w+", lambda name: names[name[0]], self.request.get(kind, ""))


class TimedDynamoDB:
    """A DynamoDB client for tasks in virtual time.

    Conditions are evaluated at the moment of a call. A single write changes its item then, and
    answers later. A transaction has its items to itself until it answers, and they change then;
    meanwhile every other write to one of them is refused, and reads are not, as DynamoDB does.
    Unlike botocore, this client repeats nothing by itself. Raises AttributeError or LookupError for
    an expression that the service does not use.
    """

    def __init__(self, time: VirtualTime, keys: Mapping[str, Sequence[str]]) -> None:
        self.items: dict[Address, Values] = {}
        self.conflicts = 0
        """Writes and transactions that were refused since an item was in a transaction."""
        self._time, self._keys = time, keys
        self._in_transaction: set[Address] = set()
        self._last_writes: dict[Address, deque[float]] = defaultdict(
            partial(deque[float], maxlen=WRITES_A_SECOND)
        )

    def get_item(self, *, TableName: str, Key: Mapping[str, Any], **_: object) -> dict[str, Any]:  # noqa: N803 - botocore's names
        """Return an item as it is at the moment of the call."""
        values = self.items.get(self._address(TableName, Key))
        self._time.sleep(READ_SECONDS)
        return {} if values is None else {"Item": to_item(values)}

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Write an item. Raises ClientError."""
        write = self._write(request)
        [reason] = self._check([write])
        if reason:
            self._time.sleep(REFUSAL_SECONDS)
            error: Any = {"Error": {"Code": _ERRORS[reason["Code"]]}} | reason
            raise ClientError(error, "PutItem")
        self._apply(write)
        self._time.sleep(WRITE_SECONDS)
        return {}

    def transact_write_items(self, *, TransactItems: Sequence[Any], **_: object) -> dict[str, Any]:  # noqa: N803 - botocore's name
        """Write all, or raise ClientError with a reason for each part."""
        writes = [self._write(request) for part in TransactItems for request in part.values()]
        reasons = self._check(writes)
        if any(reasons):
            self._time.sleep(REFUSAL_SECONDS)
            error: Any = {
                "Error": {"Code": "TransactionCanceledException"},
                "CancellationReasons": [reason or {"Code": "None"} for reason in reasons],
            }
            raise ClientError(error, "TransactWriteItems")
        addresses = {write.address for write in writes}
        if len(addresses) < len(writes):
            raise ValueError("A transaction cannot write an item twice.")
        self._in_transaction |= addresses
        self._time.sleep(TRANSACTION_SECONDS)
        self._in_transaction -= addresses
        for write in writes:
            self._apply(write)
        return {}

    def _write(self, request: Mapping[str, Any]) -> _Write:
        key = request.get("Key") or request["Item"]
        return _Write(self._address(request["TableName"], key), request)

    def _address(self, table: str, key: Mapping[str, Any]) -> Address:
        return (table, *(key[name]["S"] for name in self._keys[table]))

    def _check(self, writes: Sequence[_Write]) -> list[dict[str, Any]]:
        """Return why each of the writes is refused: nothing for one that is not."""
        reasons = [self._busy(write.address) for write in writes]
        if not any(reasons):
            for write in writes:
                self._last_writes[write.address].append(self._time.now)
            return [self._failed(write) for write in writes]
        self.conflicts += {"Code": _CONFLICT} in reasons
        return reasons

    def _busy(self, address: Address) -> dict[str, Any]:
        if address in self._in_transaction:
            return {"Code": _CONFLICT}
        last = self._last_writes[address]
        if len(last) == WRITES_A_SECOND and self._time.now - last[0] < 1:
            return {"Code": _THROTTLED}
        return {}

    def _failed(self, write: _Write) -> dict[str, Any]:
        values = self.items.get(write.address, {})
        if holds(write.expression("ConditionExpression"), values, write.given):
            return {}
        reason: dict[str, Any] = {"Code": _FAILED}
        if values and write.request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            reason["Item"] = to_item(values)
        return reason

    def _apply(self, write: _Write) -> None:
        if "Item" in write.request:
            self.items[write.address] = from_item(write.request["Item"])
        else:
            before = self.items.get(write.address) or from_item(write.request["Key"])
            update = write.expression("UpdateExpression")
            self.items[write.address] = updated(update, before, write.given)
