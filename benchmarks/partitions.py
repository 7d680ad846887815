"""What has one partition key, of a table or an index: in its order, and with its write units."""

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from benchmarks.deployed import Index, Table
from benchmarks.wire import Item, Stored

UNITS_A_SECOND: Final = 1000
"""Write units of one item, or of one partition key of an index. A write whose condition failed
counts, as DynamoDB charges for it; one that was refused for a conflict does not. In a transaction
a write counts twice."""

Address = tuple[str, ...]
"""A table's name, and the key of an item."""

_Place = tuple[str, str]
"""A partition key and a sort key."""


class Meters:
    """The write units that each item and each index key has used in the last second."""

    def __init__(self) -> None:
        self._writes: dict[Address, deque[tuple[float, int]]] = {}
        self._units: dict[Address, int] = defaultdict(int)

    def is_full(self, key: Address, now: float) -> bool:
        """Return whether a key takes no more writes now."""
        writes = self._writes.get(key)
        while writes and now - writes[0][0] >= 1:
            self._units[key] -= writes.popleft()[1]
        return self._units[key] >= UNITS_A_SECOND

    def add(self, key: Address, now: float, units: int) -> None:
        """Count the units of a write."""
        self._writes.setdefault(key, deque()).append((now, units))
        self._units[key] += units


class Partitions:
    """The items of tables with a sort key, and of indexes, by partition key and in order."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._entries: dict[Address, list[tuple[str, Address]]] = defaultdict(list)

    def move(self, address: Address, before: Stored | None, after: Stored | None) -> None:
        """Note that an item has changed."""
        table = self._tables[address[0]]
        keys = {name: index.key for name, index in table.indexes.items()}
        if len(table.key) > 1:
            keys[""] = table.key
        for name, key in keys.items():
            old, new = _place(key, before), _place(key, after)
            if old == new:
                continue
            if old:
                entries = self._entries[address[0], name, old[0]]
                entries.pop(bisect_left(entries, (old[1], address)))
            if new:
                insort(self._entries[address[0], name, new[0]], (new[1], address))

    def addresses(
        self, table: str, index: str, partition: str, *, after: Item | None, is_forward: bool
    ) -> Iterator[Address]:
        """Yield what has a partition key of an index, or of the table itself where it is empty.

        `after` has the keys of the last item that is not wanted any more.
        """
        entries = self._entries.get((table, index, partition), [])
        low, high = 0, len(entries)
        if after:
            key = self._tables[table].indexes[index].key if index else self._tables[table].key
            address = (table, *(after[name]["S"] for name in self._tables[table].key))
            at = bisect_left(entries, (_sort_of(key, after), address))
            low, high = (at + 1, high) if is_forward else (low, at)
        chosen = islice(entries, low, high) if is_forward else reversed(entries[low:high])
        return (address for _, address in chosen)


def entry_of(index: Index, table: Table, stored: Stored | None) -> Item | None:
    """Return what an index has of an item; None for an item that is not in the index."""
    if stored is None or _place(index.key, stored) is None:
        return None
    if index.projected is None:
        return stored.item
    names = {*index.key, *table.key, *index.projected}
    return {name: value for name, value in stored.item.items() if name in names}


def _place(key: tuple[str, ...], stored: Stored | None) -> _Place | None:
    if stored is None or not all(name in stored.item for name in key):
        return None
    return stored.item[key[0]]["S"], _sort_of(key, stored.item)


def _sort_of(key: tuple[str, ...], item: Item) -> str:
    sort: str = item[key[1]]["S"] if len(key) > 1 else ""
    return sort
