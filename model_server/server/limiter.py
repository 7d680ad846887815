"""Limits on the requests: how many at once, and how many per minute."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_WINDOW_S: Final = 60.0
_RETRY_AFTER_S: Final = 1
"""When a slot becomes free is not known."""


class TooManyRequestsError(Exception):
    """A limit is reached; `retry_after` is in whole seconds, at least 1."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests, retry after {retry_after} s")
        self.retry_after = retry_after


class RequestLimiter:
    """Counts requests in the event loop's thread; it is not thread-safe."""

    def __init__(self, *, max_concurrent: int, per_minute: int, clock: Callable[[], float]) -> None:
        """Set the limits; `per_minute` 0 is no limit, `clock` is monotonic and in seconds."""
        self._max_concurrent = max_concurrent
        self._per_minute = per_minute
        self._clock = clock
        self._active = 0
        self._accepted_at: deque[float] = deque()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot until the block ends; raises TooManyRequestsError when none is free.

        A rejected request does not count towards the limit per minute.
        """
        if self._active >= self._max_concurrent:
            raise TooManyRequestsError(_RETRY_AFTER_S)
        if self._per_minute:
            self._count_towards_minute()
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    def _count_towards_minute(self) -> None:
        now = self._clock()
        while self._accepted_at and self._accepted_at[0] <= now - _WINDOW_S:
            self._accepted_at.popleft()
        if len(self._accepted_at) >= self._per_minute:
            raise TooManyRequestsError(max(1, math.ceil(self._accepted_at[0] + _WINDOW_S - now)))
        self._accepted_at.append(now)
