"""The items of one limiter, among which its bounds are divided: which of them a caller asks."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from zlib import crc32

from sd3.domain.generation import TaskOrigin
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.memory import RememberedItem
from sd3.upstreams.rate_limit.schedule import MICROSECONDS, LimiterState, RateBounds, grantable
from sd3.upstreams.rate_limit.table import ChangedError, RateLimitTable, Update

_CHOICES: Final = 2
"""Items that a caller asks for a slot. When they have none, the others have hardly any."""

_FULL_SHARE: Final = 0.05
"""For so much of a caller's patience, a process does not ask again after these were full."""


class Demand(NamedTuple):
    """What a caller asks for."""

    calls: int
    latest: int
    """When the first call must have begun, in microseconds since the epoch."""
    origin: TaskOrigin


class Shards:
    """The items, with what this process knows of them. The first one is the upstream's own."""

    def __init__(self, table: RateLimitTable, bounds: RateBounds) -> None:
        self.items = [
            RememberedItem(table.shard(number), part) for number, part in enumerate(bounds.shards())
        ]
        self._bounds = bounds
        self._is_busy = False
        """Whether other callers had reserved future slots at the last read of any item."""
        self._full_until = 0

    def best(
        self, known: Mapping[int, LimiterState], demand: Demand, now: int
    ) -> tuple[int, LimiterState]:
        """Return the item that grants most calls by its known or guessed state, with that state.

        Among equal ones, it is one that is known, and else another for each job.
        """
        numbers = self._candidates(demand.origin, now)
        guesses = {one: self.items[one].guess(now, busy=self._is_busy) for one in numbers}
        states = {one: known.get(one) or guess for one, guess in guesses.items()}

        def merit(number: int) -> tuple[int, bool]:
            state, bounds = states[number], self.items[number].bounds
            granted = grantable(state, bounds, demand.calls, now=now, latest=demand.latest)
            return granted, number in known

        number = max(numbers, key=merit)
        return number, states[number]

    def observe(
        self, number: int, state: LimiterState, now: int, *, taken: int = 0, idle: bool = False
    ) -> None:
        """Note the state that an item's slots had, before so many of them were taken.

        `idle` is whether they began anew.
        """
        item = self.items[number]
        self._is_busy = item.observe(state, now)
        if taken:
            item.hold_back((now if idle else state.next_slot_at) + taken * item.bounds.slot)

    def note_full(self, known: Mapping[int, LimiterState], demand: Demand, now: int) -> None:
        """Note that the items had no room for a caller, by what is known of some."""
        for number, state in known.items():
            self.observe(number, state, now)
        if known and len(self.items) > 1:
            full = int((demand.latest - now) * _FULL_SHARE)
            self._full_until = now + full
            if not self._bounds.concurrency:
                self._hold_back(demand.latest + full)

    def pause_until(self, until: int) -> None:
        """Delay all slots to `until` or later. Raises StorageError.

        Of all callers that want this within a second, one tells several items.
        """
        if len(self.items) > 1:
            until = -(-until // MICROSECONDS) * MICROSECONDS
            announcement = Update(
                sets=["paused_until = :until"],
                conditions=["(attribute_not_exists(paused_until) OR paused_until < :until)"],
                values={":until": until},
            )
            try:
                self.items[0].table.update(announcement)
            except ChangedError:
                self._hold_back(until)
                return
        for item in self.items:
            _pause(item, until)

    def return_leases(self, permit: Permit) -> None:
        """Return the leases of a permit, if it has any. Raises StorageError."""
        if permit.lease_holder:
            names = [f"leases.{permit.lease_holder}{number}" for number in range(len(permit.waits))]
            self.items[permit.shard].table.update(Update(removes=names))

    def _candidates(self, origin: TaskOrigin, now: int) -> list[int]:
        """Return the items that are asked, which begin at another for each job.

        They are few, so that a crowd is not multiplied by the number of items. A lease cannot be
        waited for. So all items are asked for one, if they were not full a moment ago.
        """
        count = len(self.items)
        most = count if self._bounds.concurrency else _CHOICES
        if now < self._full_until:
            most = 1
        first = crc32(origin.job_id.encode())
        return [(first + step) % count for step in range(min(most, count))]

    def _hold_back(self, until: int) -> None:
        for item in self.items:
            item.hold_back(until)


def _pause(item: RememberedItem, until: int) -> None:
    """Delay an item's slots to `until` or later."""
    forget_idle_time = Update(removes=["idle_since", "idle_until"])
    hold_back = Update(
        sets=["next_slot_at = :until"],
        removes=forget_idle_time.removes,
        conditions=["(attribute_not_exists(next_slot_at) OR next_slot_at < :until)"],
        values={":until": until},
    )
    try:
        item.table.update(hold_back)
    except ChangedError as failed:
        item.hold_back(failed.state.next_slot_at)
        if item.bounds.slot:  # what could begin earlier is only idle time
            item.table.update(forget_idle_time)
    else:
        item.hold_back(until)
