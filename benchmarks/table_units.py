"""The units of writes and reads, and the stored bytes, that DynamoDB charges for."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

Item = Mapping[str, Any]
"""An item as DynamoDB's API has it: `{"status": {"S": "queued"}}`."""

WRITE_BYTES: Final = 1024
READ_BYTES: Final = 4096
STORED_BYTES: Final = 100
"""What DynamoDB adds to each item of a table and of an index, beside its attributes."""


class Index(NamedTuple):
    """An index of the jobs table: its partition key, its sort key, and whether it has whole items.

    Without whole items it has the keys alone.
    """

    partition_key: str
    sort_key: str
    has_whole_items: bool = False

    def projected(self, item: Item | None) -> Item | None:
        """Return what the index has of an item; None if it has nothing."""
        keys = (self.partition_key, self.sort_key)
        if item is None or not item.keys() >= set(keys):
            return None
        return item if self.has_whole_items else {name: item[name] for name in ("id", *keys)}


JOBS_INDEXES: Final = (
    Index("client_shard", "created_at"),
    Index("failed_shard", "completed_at"),
    Index("waiting_shard", "waiting_since"),
)
"""As template.yaml has them."""


def item_bytes(item: Item) -> int:
    """Count the bytes of an item, those of its attributes' names too."""
    return sum(len(name) + len(str(*value.values()).encode()) for name, value in item.items())


def write_units(old: Item | None, new: Item) -> int:
    """Count the units of a write that puts `new` in the place of `old`."""
    return _units(max(item_bytes(item) for item in (old, new) if item is not None))


def index_units(old: Item | None, new: Item, indexes: Iterable[Index] = JOBS_INDEXES) -> int:
    """Count the units that the same write takes of the indexes; of one that it does not change, 0.

    An item whose key changes is deleted and written.
    """
    return sum(
        _change_units(index, index.projected(old), index.projected(new)) for index in indexes
    )


def read_units(read: int, *, is_consistent: bool = False) -> float:
    """Count the units of a read of so many bytes: of an item, or of all that a query reads."""
    return max(math.ceil(read / READ_BYTES), 1) * (1 if is_consistent else 0.5)


def _change_units(index: Index, old: Item | None, new: Item | None) -> int:
    if old == new:
        return 0
    keys = (index.partition_key, index.sort_key)
    if old and new and all(old[name] == new[name] for name in keys):
        return write_units(old, new)
    return sum(_units(item_bytes(item)) for item in (old, new) if item is not None)


def _units(written: int) -> int:
    return math.ceil(written / WRITE_BYTES)
