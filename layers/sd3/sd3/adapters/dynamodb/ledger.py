"""The ledger: the usage of clients, which is recorded from the writes of their jobs.

Every write of a job is recorded exactly once, however often the stream repeats it: the transaction
that adds it to its client's day also puts a mark for it, and a mark can be put only once.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.table import ConditionFailedError, Table, to_item
from sd3.adapters.dynamodb.usage_items import (
    KEEP_DAY,
    KEEP_MARK,
    day_key,
    days_from,
    mark_key,
    mark_of,
    query_of_days,
    spent_key,
)
from sd3.domain.billing import DailyUsage, day_of, midnight
from sd3.domain.job import Job, JobChange

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

_MAX_PARTS: Final = 100
"""Of a transaction."""


class _Sum(NamedTuple):
    """An item that sums a day up: of which owner and day, and whether it is of what was spent."""

    owner: str
    day: str
    is_spent: bool


class UsageStore:
    """The ledger in the usage table. It has a few items for each client and day."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._table = Table(client, table, sleep=sleep, jitter=jitter)
        self._name = table

    def days(self, client_id: str, *, since: str, until: str) -> tuple[DailyUsage, ...]:
        """Read the days (ISO) from `since` to `until` that have usage, newest first.

        What was spent, and what is reserved without a budget, is as old as the stream is late.
        Raises StorageError.
        """
        reply = self._table.query(**query_of_days(client_id, since=since, until=until))
        days = days_from(reply["Items"])
        return tuple(DailyUsage(day, days[day].usage) for day in sorted(days, reverse=True))

    def record(self, changes: Iterable[JobChange], *, now: datetime) -> None:
        """Add what writes of jobs change to the days of their clients, each exactly once.

        Raises StorageError. Then all of them can be recorded again.
        """
        adding = {mark_of(change.after): change for change in changes if _additions(change)}
        for part in _parts(adding.values()):
            self._record(part, now=now)

    def _record(self, changes: Sequence[JobChange], *, now: datetime) -> None:
        while changes:
            marks = [self._mark(change, now=now) for change in changes]
            try:
                self._table.transact([*marks, *self._sums(changes)])
            except ConditionFailedError as error:  # these were recorded before
                changes = [one for at, one in enumerate(changes) if at not in error.failed]
            else:
                return

    def _mark(self, change: JobChange, *, now: datetime) -> "TransactWriteItemTypeDef":
        ttl = to_item({"ttl": epoch_seconds(now + KEEP_MARK)})
        return {
            "Put": {
                "TableName": self._name,
                "Item": {**mark_key(change.after), **ttl},
                "ConditionExpression": "attribute_not_exists(client_id)",
            }
        }

    def _sums(self, changes: Sequence[JobChange]) -> "Iterator[TransactWriteItemTypeDef]":
        sums: dict[_Sum, Counter[str]] = defaultdict(Counter)
        jobs: dict[_Sum, Job] = {}
        for change in changes:
            for target, numbers in _additions(change).items():
                sums[target].update(numbers)
                jobs[target] = change.after
        for target, numbers in sums.items():
            yield {"Update": self._update(target, numbers, jobs[target])}

    def _update(self, target: _Sum, numbers: Mapping[str, int], job: Job) -> "UpdateTypeDef":
        key = spent_key if target.is_spent else day_key
        sets: dict[str, object] = {"ttl": epoch_seconds(midnight(job.created_at) + KEEP_DAY)}
        if job.client_name and target.owner == job.client_id:
            sets["client_name"] = job.client_name  # for people who read the table
        values = {f":{name}": value for name, value in {**sets, **numbers}.items()}
        adding = ", ".join(f"{name} :{name}" for name in numbers)
        setting = ", ".join(f"#{name} = :{name}" for name in sets)
        return {
            "TableName": self._name,
            "Key": key(target.owner, target.day),
            "UpdateExpression": f"ADD {adding} SET {setting}",
            "ExpressionAttributeNames": {f"#{name}": name for name in sets},
            "ExpressionAttributeValues": to_item(values),
        }


def _additions(change: JobChange) -> dict[_Sum, dict[str, int]]:
    """Return what a write adds to which sums.

    A job's first quote was added to the budgets that it is reserved in when the job was made.
    """
    job, usage = change.after, change.usage
    day = day_of(job.created_at)
    owners = {job.client_id, *job.budgets}
    if change.before is None:
        owners -= set(job.budgets)
    additions = {
        _Sum(owner, day, is_spent=False): {"committed": usage.committed} for owner in owners
    }
    spent = _Sum(job.client_id, day, is_spent=True)
    additions[spent] = {"spent": usage.spent, "images": usage.images}
    return {target: numbers for target, numbers in additions.items() if any(numbers.values())}


def _parts(changes: Iterable[JobChange]) -> Iterator[list[JobChange]]:
    """Split changes so that each list fits a transaction, with its marks and its sums."""
    part: list[JobChange] = []
    targets: set[_Sum] = set()
    for change in changes:
        wider = targets.union(_additions(change))
        if len(part) + 1 + len(wider) > _MAX_PARTS:
            yield part
            part, wider = [], set(_additions(change))
        part.append(change)
        targets = wider
    if part:
        yield part
