"""The table of the rate limiters in virtual time: items that take so many units a second."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from math import ceil
from random import Random
from typing import Any, Final

from botocore.exceptions import ClientError

from benchmarks.rate_limit_item import RateLimitItems
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
        self.items = RateLimitItems()
        self.throttled = 0
        self._writes: defaultdict[str, Meter] = defaultdict(lambda: Meter(WRITE_UNITS))
        self._reads: defaultdict[str, Meter] = defaultdict(lambda: Meter(READ_UNITS))

    def get_item(self, **request: Any) -> dict[str, Any]:
        """Return an item. Raises ClientError when it is throttled."""
        name = request["Key"]["id"]["S"]
        self._enter(self._reads[name], lambda: self._units(name, 4096) / 2, "GetItem")
        reply = self.items.get_item(**request)
        self._time.sleep(WAY_SECONDS)
        return reply

    def update_item(self, **request: Any) -> dict[str, Any]:
        """Update an item. Raises ClientError when it is throttled, or its condition fails."""
        name = request["Key"]["id"]["S"]
        self._enter(self._writes[name], lambda: self._units(name, 1024), "UpdateItem")
        try:
            return self.items.update_item(**request)
        finally:
            self._time.sleep(WAY_SECONDS)

    def _units(self, name: str, size_of_one: int) -> int:
        return max(1, ceil(size(self.items.by_id[name].values) / size_of_one))

    def _enter(self, meter: Meter, units: Callable[[], float], operation: str) -> None:
        """Travel to the table until it takes the call. Raises ClientError."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._time.sleep(self._random.random() * 2 ** (attempt - 1))
            self._time.sleep(WAY_SECONDS)
            if meter.admits(units(), self._time.now):
                return
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
