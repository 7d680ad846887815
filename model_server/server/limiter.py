"""Who is let in: a bound on requests at once, and one on requests per minute."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_WINDOW_S: Final = 60.0
_BUSY_RETRY_S: Final = 1


class BusyError(Exception):
    """Not now; `retry_after` is in whole seconds, at least 1."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy, retry after {retry_after} s")
        self.retry_after = retry_after


class Admission:
    """Counts requests; used from one thread, the event loop's."""

    def __init__(self, *, max_concurrent: int, per_minute: int, clock: Callable[[], float]) -> None:
        """`per_minute` 0 is no bound; `clock` counts seconds and never goes back."""
        self._max_concurrent = max_concurrent
        self._per_minute = per_minute
        self._clock = clock
        self._inside = 0
        self._let_in_at: deque[float] = deque()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for the time of the block; raises BusyError when there is none.

        Only a request that is let in counts against the minute.
        """
        if self._inside >= self._max_concurrent:
            raise BusyError(_BUSY_RETRY_S)
        if self._per_minute:
            self._count_minute()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _count_minute(self) -> None:
        now = self._clock()
        while self._let_in_at and self._let_in_at[0] <= now - _WINDOW_S:
            self._let_in_at.popleft()
        if len(self._let_in_at) >= self._per_minute:
            raise BusyError(max(1, math.ceil(self._let_in_at[0] + _WINDOW_S - now)))
        self._let_in_at.append(now)
