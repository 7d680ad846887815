"""DynamoDB in virtual time: conflicts, throttled items and index keys, conditions and queries.

What it has of DynamoDB: a transaction has its items to itself until it answers, an item and a
partition key of an index take 1000 write units a second each, a condition is evaluated when a call
arrives, and every applied write is one change for those who watch the table.

What it does not have: a limit for all items with one partition key of a table. DynamoDB divides
these over partitions by their sort keys, in minutes under load, so that each item counts for itself
in the end. Indexes are up to date at once. There is no limit for reads, and none for a whole table.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from benchmarks.deployed import Table
from benchmarks.expressions import Values, holds, updated
from benchmarks.partitions import Address, Meters, Partitions, entry_of
from benchmarks.virtual_time import VirtualTime
from benchmarks.wire import Item, Stored, size_of, to_values, to_wire, units_of

TRANSACTION_SECONDS: Final = 0.010
WRITE_SECONDS: Final = 0.005
READ_SECONDS: Final = 0.005
REFUSAL_SECONDS: Final = 0.004
PAGE_BYTES: Final = 1024 * 1024
TOKEN_SECONDS: Final = 600
"""How long a transaction's token is known."""
MOST_PARTS: Final = 100
"""Of a transaction, or of a batch of reads."""

_CONFLICT: Final = "TransactionConflict"
_THROTTLED: Final = "ThrottlingError"
_FAILED: Final = "ConditionalCheckFailed"
_ERRORS: Final[Mapping[str, str]] = {
    _CONFLICT: "TransactionConflictException",
    _THROTTLED: "ThrottlingException",
    _FAILED: "ConditionalCheckFailedException",
}
"""What a single write raises for a reason that a transaction would name."""

_Reason = dict[str, Any]
"""Why a write is refused; empty for one that is not."""


class Change(NamedTuple):
    """An applied write: the item before and after it, of which one may be missing."""

    address: Address
    before: Item | None
    after: Item | None


Watcher = Callable[[Change], object]


@dataclass
class _Write:
    kind: str
    """Put, Update, Delete or ConditionCheck."""
    address: Address
    request: Mapping[str, Any]
    before: Stored | None
    after: Stored | None = None
    """What the write makes of the item; not known before its condition is known to hold."""

    @property
    def units(self) -> int:
        return units_of(max(stored.size if stored else 0 for stored in (self.before, self.after)))

    def is_allowed(self) -> bool:
        condition = self.request.get("ConditionExpression", "")
        values = self.before.values if self.before else {}
        return not condition or holds(condition, values, self._given, self._names)

    def compute(self) -> None:
        if self.kind == "Put":
            self.after = Stored(self.request["Item"])
        elif self.kind == "ConditionCheck":
            self.after = self.before
        elif self.kind == "Update":
            values = self.before.values if self.before else to_values(self.request["Key"])
            update = self.request["UpdateExpression"]
            self.after = Stored(to_wire(updated(update, values, self._given, self._names)))

    @property
    def _given(self) -> Values:
        return to_values(self.request.get("ExpressionAttributeValues", {}))

    @property
    def _names(self) -> Mapping[str, str]:
        names: Mapping[str, str] = self.request.get("ExpressionAttributeNames", {})
        return names


class TimedDynamoDB:
    """A DynamoDB client for tasks in virtual time.

    A single write changes its item when it is called, and answers later. A transaction has its
    items to itself until it answers, and they change then; meanwhile every other write to one of
    them is refused, and reads are not. Unlike botocore, this client repeats nothing by itself.
    Raises ValueError for an expression that is not understood, and TypeError for a parameter.
    """

    def __init__(self, time: VirtualTime, tables: Mapping[str, Table]) -> None:
        self.items: dict[Address, Stored] = {}
        self.conflicts = 0
        """Writes and transactions that were refused since an item was in a transaction."""
        self.throttled = 0
        """Writes and transactions that were refused since an item or an index key had too many."""
        self.units: Counter[str] = Counter()
        """Write units by table, and by table/index."""
        self.calls: Counter[str] = Counter()
        """Calls by operation, refused ones too."""
        self._time, self._tables = time, tables
        self._watchers: dict[str, list[Watcher]] = defaultdict(list)
        self._in_transaction: set[Address] = set()
        self._meters, self._partitions = Meters(), Partitions(tables)
        self._tokens: dict[str, float] = {}
        """When each transaction with a token has begun."""

    def watch(self, table: str, watcher: Watcher) -> None:
        """Call `watcher` with every change of a table, at the moment of the change."""
        self._watchers[table].append(watcher)

    def get_item(
        self,
        *,
        TableName: str,  # noqa: N803 - botocore's names, here and below
        Key: Item,  # noqa: N803
        ConsistentRead: bool = False,  # noqa: ARG002, N803 - all reads are
    ) -> dict[str, Any]:
        """Return an item as it is at the moment of the call."""
        self.calls["GetItem"] += 1
        stored = self.items.get(self._address(TableName, Key))
        self._time.sleep(READ_SECONDS)
        return {"Item": stored.item} if stored else {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        """Return items as they are at the moment of the call."""
        self.calls["BatchGetItem"] += 1
        if sum(len(asked["Keys"]) for asked in RequestItems.values()) > MOST_PARTS:
            raise ValueError(f"A batch has at most {MOST_PARTS} keys.")
        found: dict[str, list[Item]] = {}
        for table, asked in RequestItems.items():
            stored = [self.items.get(self._address(table, key)) for key in asked["Keys"]]
            found[table] = [one.item for one in stored if one]
        self._time.sleep(READ_SECONDS)
        return {"Responses": found, "UnprocessedKeys": {}}

    def query(  # noqa: PLR0913 - botocore's parameters
        self,
        *,
        TableName: str,  # noqa: N803
        KeyConditionExpression: str,  # noqa: N803
        ExpressionAttributeValues: Item,  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803
        IndexName: str = "",  # noqa: N803
        FilterExpression: str = "",  # noqa: N803
        ExclusiveStartKey: Item | None = None,  # noqa: N803
        Limit: int | None = None,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        ConsistentRead: bool = False,  # noqa: ARG002, N803 - all reads are
        Select: str = "",  # noqa: ARG002, N803 - a count comes with its items
    ) -> dict[str, Any]:
        """Return a page of what has one partition key, in the order of the sort key.

        What a filter leaves out counts to Limit, as in DynamoDB.
        """
        self.calls["Query"] += 1
        table = self._tables[TableName]
        index = table.indexes[IndexName] if IndexName else None
        key = index.key if index else table.key
        given, names = to_values(ExpressionAttributeValues), ExpressionAttributeNames or {}
        partition = _partition_of(KeyConditionExpression, key[0], given, names)
        page: list[Item] = []
        is_complete, size = True, 0
        for address in self._partitions.addresses(
            TableName, IndexName, partition, after=ExclusiveStartKey, is_forward=ScanIndexForward
        ):
            stored = self.items[address]
            if not holds(KeyConditionExpression, stored.values, given, names):
                continue
            if len(page) == Limit or size > PAGE_BYTES:
                is_complete = False
                break
            entry = entry_of(index, table, stored) if index else stored.item
            page.append(entry or {})
            size += size_of(page[-1])
        self._time.sleep(READ_SECONDS)
        kept = (
            [one for one in page if holds(FilterExpression, to_values(one), given, names)]
            if FilterExpression
            else page
        )
        reply: dict[str, Any] = {"Items": kept, "Count": len(kept), "ScannedCount": len(page)}
        if not is_complete:
            last = sorted({*key, *table.key})
            reply["LastEvaluatedKey"] = {name: page[-1][name] for name in last}
        return reply

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Write an item. Raises ClientError."""
        return self._single("Put", "PutItem", request)

    def update_item(self, **request: Any) -> dict[str, Any]:
        """Change an item, or make it. Raises ClientError."""
        return self._single("Update", "UpdateItem", request)

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """Remove an item, if it is there. Raises ClientError."""
        return self._single("Delete", "DeleteItem", request)

    def transact_write_items(
        self,
        *,
        TransactItems: Sequence[Any],  # noqa: N803
        ClientRequestToken: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        """Write all, or raise ClientError with a reason for each part.

        A transaction whose token is known was applied, and is not applied again.
        """
        self.calls["TransactWriteItems"] += 1
        token = ClientRequestToken
        if token and self._time.now - self._tokens.get(token, -TOKEN_SECONDS) < TOKEN_SECONDS:
            self._time.sleep(TRANSACTION_SECONDS)
            return {}
        parts = [(kind, request) for part in TransactItems for kind, request in part.items()]
        writes = [self._write(kind, request) for kind, request in parts]
        addresses = {write.address for write in writes}
        if len(addresses) < len(writes) or len(writes) > MOST_PARTS:
            raise ValueError(f"A transaction writes {MOST_PARTS} items at most, and none twice.")
        reasons = self._check(writes, factor=2)
        if any(reasons):
            self._time.sleep(REFUSAL_SECONDS)
            error: Any = {
                "Error": {"Code": "TransactionCanceledException"},
                "CancellationReasons": [reason or {"Code": "None"} for reason in reasons],
            }
            raise ClientError(error, "TransactWriteItems")
        if token:
            self._tokens[token] = self._time.now
        self._in_transaction |= addresses
        self._time.sleep(TRANSACTION_SECONDS)
        self._in_transaction -= addresses
        self._apply(writes)
        return {}

    def _single(self, kind: str, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.calls[operation] += 1
        write = self._write(kind, request)
        [reason] = self._check([write], factor=1)
        if reason:
            self._time.sleep(REFUSAL_SECONDS)
            error: Any = {"Error": {"Code": _ERRORS[reason["Code"]]}} | reason
            raise ClientError(error, operation)
        self._apply([write])
        self._time.sleep(WRITE_SECONDS)
        known = {"NONE": None, "ALL_OLD": write.before, "ALL_NEW": write.after}
        returned = known[request.get("ReturnValues", "NONE")]
        return {"Attributes": returned.item} if returned else {}

    def _write(self, kind: str, request: Mapping[str, Any]) -> _Write:
        key = request.get("Key") or request["Item"]
        address = self._address(request["TableName"], key)
        return _Write(kind, address, request, before=self.items.get(address))

    def _address(self, table: str, key: Item) -> Address:
        return (table, *(key[name]["S"] for name in self._tables[table].key))

    def _check(self, writes: Sequence[_Write], *, factor: int) -> list[_Reason]:
        """Return why each of the writes is refused, and count what they use."""
        now = self._time.now
        reasons = [self._busy(write) for write in writes]
        entries: list[list[tuple[Address, int]]] = []
        if not any(reasons):
            reasons = [self._failed(write) for write in writes]
            if not any(reasons):
                entries = [list(self._index_writes(write)) for write in writes]
                reasons = [self._held_back(keys) for keys in entries]
        self.conflicts += {"Code": _CONFLICT} in reasons
        self.throttled += {"Code": _THROTTLED} in reasons
        if any(reason.get("Code") in {_CONFLICT, _THROTTLED} for reason in reasons):
            return reasons
        for write in writes:
            self._meters.add(write.address, now, factor * write.units)
            self.units[write.address[0]] += factor * write.units
        for key, units in (entry for found in entries for entry in found):
            self._meters.add(key, now, units)
            self.units["/".join(key[:2])] += units
        return reasons

    def _busy(self, write: _Write) -> _Reason:
        if write.address in self._in_transaction:
            return {"Code": _CONFLICT}
        is_full = self._meters.is_full(write.address, self._time.now)
        return {"Code": _THROTTLED} if is_full else {}

    def _failed(self, write: _Write) -> _Reason:
        if write.is_allowed():
            write.compute()
            return {}
        reason: _Reason = {"Code": _FAILED}
        if write.before and write.request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            reason["Item"] = write.before.item
        return reason

    def _held_back(self, keys: Sequence[tuple[Address, int]]) -> _Reason:
        """Refuse a write to the table for an index that cannot follow."""
        is_full = any(self._meters.is_full(key, self._time.now) for key, _ in keys)
        return {"Code": _THROTTLED} if is_full else {}

    def _index_writes(self, write: _Write) -> Iterator[tuple[Address, int]]:
        """Yield the index keys that a write changes, and the units that it takes of each."""
        table = self._tables[write.address[0]]
        for name, index in table.indexes.items():
            old, new = (entry_of(index, table, one) for one in (write.before, write.after))
            if old == new:
                continue
            entries = [one for one in (old, new) if one]
            if old and new and all(old[part] == new[part] for part in index.key):
                entries = [max(entries, key=size_of)]
            for entry in entries:
                key = (write.address[0], name, entry[index.key[0]]["S"])
                yield key, units_of(size_of(entry))

    def _apply(self, writes: Sequence[_Write]) -> None:
        """Apply writes that were checked, and tell the watchers of what has changed."""
        changes = []
        for write in writes:
            before, after = write.before, write.after
            if after is before or (before and after and before.item == after.item):
                continue
            if after:
                self.items[write.address] = after
            else:
                del self.items[write.address]
            self._partitions.move(write.address, before, after)
            items = (one.item if one else None for one in (before, after))
            changes.append(Change(write.address, *items))
        for change in changes:
            for watcher in self._watchers[change.address[0]]:
                watcher(change)


def _partition_of(condition: str, key: str, given: Values, names: Mapping[str, str]) -> str:
    """Find the partition key's value in a key condition."""
    for part in condition.split(" AND "):
        name, _, value = part.strip(" ()").partition(" = ")
        if names.get(name, name) == key:
            found: str = given[value.strip()]
            return found
    raise ValueError(f"a query without its partition key: {condition}")
