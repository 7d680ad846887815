"""What one process remembers of a limiter's item, and for how long it relies on that."""

from dataclasses import replace
from typing import Final

from sd3.upstreams.rate_limit.schedule import MICROSECONDS, LimiterState, RateBounds
from sd3.upstreams.rate_limit.table import RateLimitTable

KNOWN_SECONDS: Final = 30
"""For how long a process relies on an upstream that it saw without any trouble."""

TROUBLE_SECONDS: Final = 1
"""For how long it relies on the trouble that it saw, which another process may end any time."""


class RememberedItem:
    """One item of a limiter, its part of the bounds, and the last that this process saw of it."""

    def __init__(self, table: RateLimitTable, bounds: RateBounds) -> None:
        self.table, self.bounds = table, bounds
        self._next_slot_at = 0
        """The value at the last read. It only grows."""
        self._state: LimiterState | None = None
        self._seen_at = 0

    def recall(self, now: int) -> LimiterState | None:
        """Return the state that was seen, or None when it is too old to rely on."""
        state = self._state
        if state is None:
            return None
        seconds = TROUBLE_SECONDS if state.has_trouble else KNOWN_SECONDS
        is_old = now - self._seen_at >= seconds * MICROSECONDS
        # When a breaker's time is over, others know who probes.
        if is_old or any(self._seen_at < until <= now for until in state.breakers.values()):
            return None
        return replace(state, next_slot_at=max(state.next_slot_at, self._next_slot_at))

    def look(self, now: int) -> LimiterState:
        """Read the state, and remember it. Raises StorageError."""
        state = self.table.read()
        self.remember(state, now)
        self.hold_back(state.next_slot_at)
        return state

    def remember(self, state: LimiterState, now: int) -> None:
        """Note the state that the item had a moment ago."""
        self._state, self._seen_at = state, now

    def forget(self) -> None:
        """Rely on nothing that was seen, except for slots: these only move on."""
        self._state = None

    def guess(self, now: int, *, busy: bool) -> LimiterState:
        """Guess the slots' state; the write fails if the guess is wrong.

        `busy` is whether other callers have probably reserved future slots.
        """
        return LimiterState(next_slot_at=max(self._next_slot_at, now + 1 if busy else 0))

    def observe(self, state: LimiterState, now: int) -> bool:
        """Note the slots' state; return whether other callers had reserved future slots."""
        is_busy = state.next_slot_at > max(self._next_slot_at, now - self.bounds.grace)
        self.hold_back(state.next_slot_at)
        return is_busy

    def hold_back(self, until: int) -> None:
        """Note that no slot begins before `until`."""
        self._next_slot_at = max(self._next_slot_at, until)
