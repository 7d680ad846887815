"""The table of the rate limiters in virtual time: items that take so many units a second."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from math import ceil
from random import Random
from typing import Any, Final

from botocore.exceptions import ClientError

from benchmarks.rate_limit_item import RateLimitItem
from benchmarks.virtual_time import VirtualTime

WAY_SECONDS: Final = 0.0025
"""From a process to the table, or back."""
WRITE_UNITS: Final = 1000
"""Of one item in a second. A write takes one for each KB of the item."""
READ_UNITS: Final = 3000
"""Of one item in a second. A read that need not be consistent takes half of one for each 4 KB."""
ATTEMPTS: Final = 4
"""Of the SDK, which waits before each but the first, as `_CONFIG` in adapters/aws.py has it."""


class Meter:
    """Counts the units that were used within the last second."""

    def __init__(self, most: float) -> None:
        self._most, self._used = most, 0.0
        self._last: deque[tuple[float, float]] = deque()

    def admits(self, units: float, now: float) -> bool:
        """Use so many units, or return false if there are not so many left."""
        while self._last and self._last[0][0] <= now - 1:
            self._used -= self._last.popleft()[1]
        if self._used + units > self._most:
            return False
        self._last.append((now, units))
        self._used += units
        return True


class GateTable:
    """A DynamoDB client, for tasks in virtual time, of a table with the limiters' items.

    A throttled call is repeated as botocore's standard mode does. Reads are current.
    """

    def __init__(self, time: VirtualTime, random: Random) -> None:
        self._time, self._random = time, random
        self.items: defaultdict[str, RateLimitItem] = defaultdict(RateLimitItem)
        self.reads = self.throttled = 0
        self.write_units = 0.0
        self._writes: defaultdict[str, Meter] = defaultdict(lambda: Meter(WRITE_UNITS))
        self._reads: defaultdict[str, Meter] = defaultdict(lambda: Meter(READ_UNITS))

    def get_item(self, *, Key: Mapping[str, Any], **_: object) -> dict[str, Any]:  # noqa: N803 - botocore's names, here and below
        """Return an item. Raises ClientError when it is throttled."""
        item, meter = self.items[Key["id"]["S"]], self._reads[Key["id"]["S"]]
        self._enter(meter, lambda: max(1, ceil(size(item.values) / 4096)) / 2, "GetItem")
        self.reads += 1
        reply = item.get_item()
        self._time.sleep(WAY_SECONDS)
        return reply

    def update_item(self, *, Key: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:  # noqa: N803
        """Update an item. Raises ClientError when it is throttled, or its condition fails."""
        item, meter = self.items[Key["id"]["S"]], self._writes[Key["id"]["S"]]
        self.write_units += self._enter(
            meter, lambda: max(1, ceil(size(item.values) / 1024)), "UpdateItem"
        )
        try:
            return item.update_item(**arguments)
        finally:
            self._time.sleep(WAY_SECONDS)

    @property
    def writes(self) -> int:
        """Count the writes, also those whose condition failed."""
        return sum(item.writes for item in self.items.values())

    def _enter(self, meter: Meter, units: Callable[[], float], operation: str) -> float:
        """Travel to the table until it takes the call, and return the units that it uses."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._time.sleep(self._random.random() * 2 ** (attempt - 1))
            self._time.sleep(WAY_SECONDS)
            if meter.admits(used := units(), self._time.now):
                return used
            self.throttled += 1
            self._time.sleep(WAY_SECONDS)
        raise ClientError({"Error": {"Code": "ThrottlingException"}}, operation)


def size(values: Mapping[str, Any]) -> int:
    """Return the bytes of an item about as DynamoDB counts them."""
    return sum(len(name) + _size(value) for name, value in values.items())


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 3 + size(value) + len(value)
    if isinstance(value, set):
        return 3 + sum(len(text) + 1 for text in value)
    return 1 + ceil(len(str(value)) / 2)
