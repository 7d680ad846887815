"""Reservations: where in the items of a budget's day a new job's cost is reserved."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.table import (
    ConditionFailedError,
    ConflictError,
    Table,
    to_item,
)
from sd3.adapters.dynamodb.usage_items import (
    KEEP_DAY,
    LOTS,
    NO_DAY,
    Day,
    Lot,
    day_key,
    days_from,
    lot_key,
    query_of_days,
)
from sd3.domain.billing import day_of, midnight
from sd3.domain.job import Job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

JOBS_IN_A_LOT: Final = 100
"""The most jobs for which a lot is filled. So one job in a hundred looks at the whole day."""

CONTENDED: Final = timedelta(minutes=1)
"""How long jobs are reserved in lots after some have met."""

LOTS_AT_ONCE: Final = 45
"""The most lots that one transaction changes for a budget. A job may reserve in two, and DynamoDB
limits a transaction to 100 items: these lots, the two days, the job and its key."""

FILL_CHANCE: Final = 0.1
"""How often a job that looks at a day fills lots although others have enough."""

_MANY: Final = 3 * LOTS // 4
"""So many lots with enough for a job are enough."""

_IS_THERE: Final = "attribute_exists(committed)"

_MEETINGS: Final = 2
"""Meetings of one job after which it goes to a lot."""


class NoRoomError(Exception):
    """The budget of `owner` has no room for a job: `left` micro-dollars are left."""

    def __init__(self, owner: str, left: int) -> None:
        super().__init__()
        self.owner, self.left = owner, left


class Contention:
    """In which budgets jobs have met of late, and the choices by chance that keep them apart."""

    def __init__(self, *, jitter: Callable[[], float]) -> None:
        """Begin without a meeting; `jitter` returns a random number from 0 to 1."""
        self._jitter = jitter
        self._until: dict[str, datetime] = {}

    def has(self, owner: str, *, now: datetime) -> bool:
        """Return whether jobs have met in an owner's budget of late."""
        return self._until.get(owner, now) > now

    def note(self, owner: str, *, now: datetime) -> None:
        """Record that jobs have met in an owner's budget."""
        self._until = {one: until for one, until in self._until.items() if until > now}
        self._until[owner] = now + CONTENDED

    def choose(self, lots: Sequence[int], count: int = 1) -> Sequence[int]:
        """Choose lots that follow each other, from a random one on."""
        first = int(self._jitter() * len(lots)) % max(len(lots), 1)
        return [*lots, *lots][first : first + min(count, len(lots))]

    def happens(self, chance: float) -> bool:
        """Return True by chance."""
        return self._jitter() < chance


class Reservation:
    """The reservation of a new job's cost in one budget: where it is tried next.

    The caller writes `parts` in the job's transaction, and says if that failed.
    """

    def __init__(
        self, table: Table, contention: Contention, job: Job, owner: str, budget: int
    ) -> None:
        """Begin the reservation in the budget of `owner`, in micro-dollars a day."""
        self._table, self._contention = table, contention
        self._owner, self._budget = owner, budget
        self._micros, self._now = job.usage.committed, job.created_at
        self._name = job.client_name if owner == job.client_id else None
        self._day = day_of(job.created_at)
        self._meetings, self._has_looked = 0, False
        self.parts = self._first_parts()

    def meet(self) -> bool:
        """Go elsewhere, since other writes had an item; return whether that is the same item.

        Raises NoRoomError and StorageError.
        """
        self._meetings += 1
        was_contended = self._is_contended
        if self._meetings >= _MEETINGS:
            self._contention.note(self._owner, now=self._now)
        if self._has_looked or self._is_contended != was_contended:
            self.look()
        else:
            self.parts = self._first_parts()
        return not self._is_contended

    def look(self) -> None:
        """Find room in the whole day, since there was none where it was tried.

        Raises NoRoomError and StorageError.
        """
        self._has_looked = True
        day = self._read()
        left = self._budget - day.committed + day.in_lots
        if left < self._micros:
            raise NoRoomError(self._owner, left)
        # What is left in a lot of another budget goes back: the budget was changed meanwhile.
        lots = {at: lot for at, lot in day.lots.items() if lot.budget == self._budget}
        stale = {at: lot for at, lot in day.lots.items() if lot.left and at not in lots}
        if len(stale) > LOTS_AT_ONCE:
            self._give_back(stale)
            return
        changes = {at: -lot.left for at, lot in stale.items()}
        room = self._budget - day.committed - sum(changes.values())
        if room < self._micros:
            order = self._contention.choose(list(lots), len(lots))
            changes |= _collected({at: lots[at] for at in order}, self._micros - room)
            if len(changes) > LOTS_AT_ONCE:
                self._give_back(day.lots)
                return
        elif self._is_contended:
            full = [at for at, lot in lots.items() if lot.left >= self._micros]
            if full and not self._contention.happens(FILL_CHANCE if len(full) < _MANY else 0):
                self.parts = self._from_one_of(full)
                return
            fill, count = self._fill(room - self._micros)
            empty = [at for at in range(LOTS) if at not in changes and at not in full]
            count = min(count, LOTS_AT_ONCE - len(changes))
            changes |= dict.fromkeys(self._contention.choose(empty, count), fill)
        taken = self._micros + sum(changes.values())
        self.parts = [self._in_day(taken)] if taken else []
        for at, change in changes.items():
            if change:
                self.parts.append(self._in_lot(at, change, seen=day.lots.get(at)))

    def _read(self) -> Day:
        reply = self._table.query(**query_of_days(self._owner, since=self._day, until=self._day))
        return days_from(reply["Items"]).get(self._day, NO_DAY)

    @property
    def _is_contended(self) -> bool:
        return self._contention.has(self._owner, now=self._now)

    def _first_parts(self) -> "list[TransactWriteItemTypeDef]":
        if self._is_contended:
            return self._from_one_of(range(LOTS))
        return [self._in_day(self._micros)]

    def _from_one_of(self, lots: Sequence[int]) -> "list[TransactWriteItemTypeDef]":
        [at] = self._contention.choose(lots)
        return [self._from_lot(at, self._micros)]

    def _fill(self, room: int) -> tuple[int, int]:
        """Return how much is filled into how many lots: up to half of the room.

        A lot is filled for whole jobs like this one, so that no rest has to be collected.
        """
        if not self._micros:
            return 0, 0
        jobs = min(JOBS_IN_A_LOT, max(room // (2 * LOTS * self._micros), 1))
        return jobs * self._micros, min(LOTS_AT_ONCE, room // (2 * jobs * self._micros))

    def _give_back(self, lots: Mapping[int, Lot]) -> None:
        """Return the fullest lots to the day: one transaction cannot take from so many as needed.

        Then the job is tried in the day. If that fails, it gives back more. Raises StorageError.
        """
        fullest = sorted(lots, key=lambda at: -lots[at].left)[:LOTS_AT_ONCE]
        parts = [self._in_lot(at, -lots[at].left, seen=lots[at]) for at in fullest if lots[at].left]
        # There need be no room: less is committed afterwards.
        given: dict[str, object] = {":micros": -sum(lots[at].left for at in fullest)}
        key = day_key(self._owner, self._day)
        parts.append(self._update(key, "ADD committed :micros", _IS_THERE, given))
        with suppress(ConflictError, ConditionFailedError):  # others have changed them meanwhile
            self._table.transact_once(parts)
        self.parts = [self._in_day(self._micros)]

    def _in_day(self, micros: int) -> "TransactWriteItemTypeDef":
        """Build the part that commits so much of the budget in the item of the day."""
        room = self._budget - micros
        # A day without usage has room for a job that fits the whole budget.
        first = "attribute_not_exists(committed) OR " if room >= 0 else ""
        values: dict[str, object] = {":micros": micros, ":room": room}
        sets = []
        if self._name:
            values[":name"] = self._name  # for people who read the table
            sets = ["client_name = :name"]
        key = day_key(self._owner, self._day)
        return self._update(
            key, "ADD committed :micros", f"{first}committed <= :room", values, sets=sets
        )

    def _from_lot(self, at: int, micros: int) -> "TransactWriteItemTypeDef":
        """Build the part that takes so much from a lot, if it has it."""
        return self._update(
            lot_key(self._owner, self._day, at),
            "ADD lot :taken",
            "lot >= :micros AND budget = :budget",
            {":taken": -micros, ":micros": micros, ":budget": self._budget},
        )

    def _in_lot(self, at: int, change: int, *, seen: Lot | None) -> "TransactWriteItemTypeDef":
        """Build the part that changes a lot: takes from it, fills it, or gives it back."""
        if seen and change < 0 and seen.budget == self._budget:
            return self._from_lot(at, -change)
        values: dict[str, object] = {":change": change, ":budget": self._budget}
        condition = "attribute_not_exists(lot)"
        if seen:
            condition, values[":seen"] = "lot = :seen", seen.left
        key = lot_key(self._owner, self._day, at)
        return self._update(key, "ADD lot :change", condition, values, sets=["budget = :budget"])

    def _update(
        self,
        key: "Mapping[str, AttributeValueTypeDef]",
        expression: str,
        condition: str,
        values: dict[str, object],
        *,
        sets: list[str] | None = None,
    ) -> "TransactWriteItemTypeDef":
        values[":ttl"] = epoch_seconds(midnight(self._now) + KEEP_DAY)
        part: Any = {
            "TableName": self._table.name,
            "Key": key,
            "UpdateExpression": f"{expression} SET {', '.join(['#ttl = :ttl', *(sets or [])])}",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#ttl": "ttl"},
            "ExpressionAttributeValues": to_item(values),
        }
        return {"Update": part}


def _collected(lots: Mapping[int, Lot], micros: int) -> dict[int, int]:
    """Return what is taken from which lots, in their order, until there is enough."""
    changes: dict[int, int] = {}
    for at, lot in lots.items():
        taken = min(lot.left, micros)
        if taken > 0:
            changes[at] = -taken
            micros -= taken
    return changes
