"""Items as DynamoDB's API has them, and their plain values; boto3's own conversion is slow."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.expressions import Values

Item = Mapping[str, Mapping[str, Any]]
"""Such as {"status": {"S": "queued"}}."""

UNIT_BYTES: Final = 1024
"""What a write unit writes. A read unit reads four times as much."""


def to_values(item: Item) -> Values:
    """Return the plain values of an item: text, whole numbers, maps, lists and sets of text."""
    return {name: _plain(value) for name, value in item.items()}


def to_wire(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as the API has them."""
    return {name: _typed(value) for name, value in values.items()}


class Stored:
    """An item in a table, as it was written, with what is computed from it once."""

    __slots__ = ("_size", "_values", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self._values: Values | None = None
        self._size = 0

    @property
    def values(self) -> Values:
        """Convert the item to plain values."""
        if self._values is None:
            self._values = to_values(self.item)
        return self._values

    @property
    def size(self) -> int:
        """Count the bytes that DynamoDB charges for, as far as text is ASCII."""
        if not self._size:
            self._size = size_of(self.item)
        return self._size


def size_of(item: Item) -> int:
    """Count the bytes of names and values."""
    return sum(len(name) + _size(value) for name, value in item.items())


def units_of(size: int) -> int:
    """Return the write units of an item of so many bytes."""
    return max(1, -(-size // UNIT_BYTES))


def _plain(value: Mapping[str, Any]) -> Any:
    [(kind, found)] = value.items()
    if kind == "N":
        return int(found)
    if kind == "M":
        return to_values(found)
    if kind == "L":
        return [_plain(one) for one in found]
    return set(found) if kind == "SS" else found


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, dict):
        return {"M": to_wire(value)}
    if isinstance(value, set):
        return {"SS": sorted(value)}
    return {"L": [_typed(one) for one in value]}


def _size(value: Mapping[str, Any]) -> int:
    [(kind, found)] = value.items()
    if kind == "M":
        return 3 + size_of(found)
    if kind == "L":
        return 3 + sum(1 + _size(one) for one in found)
    if kind == "SS":
        return sum(map(len, found))
    return len(found) // 2 + 2 if kind == "N" else len(str(found))
