"""The items of the usage table: their keys, and how the items of a day add up.

An owner is a client, or the group of clients that share a budget. On a day (UTC) it has:

- an item of the day, with what counts against a budget: `committed`. Lots are a part of it.
- lots of the budget, while many jobs are made at once: `lot` is what is left of each.
- an item of what was spent: `spent` and `images`.

Amounts are micro-dollars. The table also has counts of a client's requests, uploads and waits, and
a mark for each write of a job that is recorded.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sd3.adapters.dynamodb.table import Item, from_item, to_item
from sd3.domain.billing import UsageEntry
from sd3.domain.client import MAX_WAIT_SECONDS
from sd3.domain.job import Job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Key = dict[str, AttributeValueTypeDef]

LOTS: Final = 100
"""How many lots a budget can have. At 2000 jobs a second, in transactions of 10 ms, 20 are under
way at a time, and one in five meets another."""

KEEP_DAY: Final = timedelta(days=40)
"""Longer than the 30 days that GET /usage shows."""

KEEP_COUNT: Final = timedelta(minutes=5)

KEEP_MARK: Final = timedelta(days=16)
"""Longer than a write can be repeated: the stream has it for a day, and StreamFailuresBucket for 14
more days, out of a batch of which a part was recorded."""

_LOT: Final = "#lot-"
_SPENT: Final = "#spent"
_AFTER_ALL: Final = "~"
"""Sorts behind everything that follows a day in a key."""


class Lot(NamedTuple):
    """A part of a budget from which jobs reserve: what is left of it, and the budget it is of."""

    left: int
    budget: int


class Day(NamedTuple):
    """What an owner's items of one day say."""

    committed: int
    spent: int
    images: int
    lots: Mapping[int, Lot]
    """By their numbers."""

    @property
    def in_lots(self) -> int:
        """What is left in the lots, and so is nobody's yet."""
        return sum(lot.left for lot in self.lots.values())

    @property
    def usage(self) -> UsageEntry:
        """The usage of the day."""
        reserved = self.committed - self.spent - self.in_lots
        return UsageEntry(reserved=reserved, spent=self.spent, images=self.images)


NO_DAY: Final = Day(0, 0, 0, {})


def day_key(owner: str, day: str) -> "Key":
    """Return the key of an owner's day (ISO)."""
    return _key(owner, day)


def lot_key(owner: str, day: str, number: int) -> "Key":
    """Return the key of one of the lots."""
    return _key(owner, f"{day}{_LOT}{number:02}")


def spent_key(owner: str, day: str) -> "Key":
    """Return the key of what was spent on a day."""
    return _key(owner, f"{day}{_SPENT}")


def minute_key(client_id: str, time: datetime) -> "Key":
    """Return the key of the counts of a minute: `count` of requests, and `uploads`."""
    return _key(client_id, f"minute#{time.astimezone(UTC):%Y-%m-%dT%H:%M}")


def wait_key(client_id: str, time: datetime) -> "Key":
    """Return the key of the count of the waits that begin within the longest wait's time."""
    began = int(time.timestamp()) // MAX_WAIT_SECONDS * MAX_WAIT_SECONDS
    return _key(client_id, f"waits#{datetime.fromtimestamp(began, UTC):%Y-%m-%dT%H:%M:%S}")


def mark_of(job: Job) -> tuple[str, str]:
    """Name the write that a job comes from. After a day, the id of a deleted job is free again."""
    return job.id, f"{job.created_at.isoformat()}#{job.version}"


def mark_key(job: Job) -> "Key":
    """Return the key of the mark of a job's write."""
    return mark_key_of(job.id, job.created_at.isoformat(), job.version)


def mark_key_of(job_id: str, created_at: str, version: int) -> "Key":
    """Return the key of the mark of one write of a job (ISO, UTC). No client's id has a #."""
    return _key(f"recorded#{job_id}", f"{created_at}#{version}")


def query_of_days(owner: str, *, since: str, until: str) -> dict[str, Any]:
    """Return the arguments of the query for the items of the days from `since` to `until`."""
    return {
        "KeyConditionExpression": "client_id = :owner AND #day BETWEEN :since AND :until",
        "ExpressionAttributeNames": {"#day": "day"},
        "ExpressionAttributeValues": to_item(
            {":owner": owner, ":since": since, ":until": until + _AFTER_ALL}
        ),
        "ConsistentRead": True,
    }


def days_from(items: Iterable[Item]) -> dict[str, Day]:
    """Add up the items of an owner's days, by day."""
    days: dict[str, Day] = {}
    for values in map(from_item, items):
        day, _, part = values["day"].partition("#")
        before = days.get(day, NO_DAY)
        lots = before.lots
        if "lot" in values:
            lot = Lot(values["lot"], values["budget"])
            lots = {**lots, int(part.rpartition("-")[2]): lot}
        days[day] = Day(
            before.committed + values.get("committed", 0),
            before.spent + values.get("spent", 0),
            before.images + values.get("images", 0),
            lots,
        )
    return days


def _key(owner: str, day: str) -> "Key":
    return to_item({"client_id": owner, "day": day})
