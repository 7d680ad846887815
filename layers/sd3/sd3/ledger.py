"""The ledger: what jobs cost their clients, booked in the same write as the job itself.

What is booked for a job follows from the job alone. A job carries what the ledger has for it, so
that each write books the difference; and since a write needs the version that was read, nothing is
booked twice, whoever dies in between. All that a job ever costs belongs to the day (UTC) on which
it was made.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sd3.access import Limits
from sd3.job_items import Item, seconds
from sd3.models import Job, JobStatus
from sd3.money import Booking

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

KEEP_DAY: Final = timedelta(days=40)
"""For the 30 days that a client is told of."""
KEEP_MINUTE: Final = timedelta(minutes=5)


def booking_of(job: Job) -> Booking:
    """What the ledger is to have for a job: what it may still cost, and what it has come to."""
    return Booking(
        reserved=job.quote.micros if job.quote and not job.status.is_terminal else 0,
        spent=job.cost_micros,
        pictures=sum(record.key is not None for record in job.images)
        if job.status is JobStatus.SUCCEEDED
        else 0,
    )


def first_version(job: Job) -> Job:
    """A new job as it is kept."""
    return job.model_copy(update={"version": 0, "booked": booking_of(job)})


def next_version(job: Job) -> Job:
    """A job that was read and changed, as it is kept."""
    return job.model_copy(update={"version": job.version + 1, "booked": booking_of(job)})


def day_of(time: datetime) -> str:
    """The day that is booked, as ISO has it."""
    return time.astimezone(UTC).date().isoformat()


def next_day(time: datetime) -> datetime:
    """When the day is over."""
    return _midnight(time) + timedelta(days=1)


def next_minute(time: datetime) -> datetime:
    """When the minute is over."""
    return time.replace(second=0, microsecond=0) + timedelta(minutes=1)


def booking_from(item: Item) -> Booking:
    """What a day's item has."""
    names = ("reserved", "spent", "pictures")
    return Booking(**{name: int(item[name]["N"]) for name in names if name in item})


def book(table: str, job: Job, change: Booking) -> "TransactWriteItemTypeDef":
    """The part of a transaction that books a change on the job's day."""
    return {"Update": _booked(table, job, change)}


def admit(table: str, job: Job, limits: Limits) -> "list[TransactWriteItemTypeDef]":
    """The parts of a transaction that book a new job, if its client's limits have room for it."""
    change = booking_of(job)
    day = _booked(table, job, change)
    if limits.daily_budget_micros is not None:
        room = limits.daily_budget_micros - change.committed
        # A day without bookings has room for what fits the budget at all.
        first = "attribute_not_exists(committed) OR " if room >= 0 else ""
        day["ConditionExpression"] = f"{first}committed <= :room"
        day["ExpressionAttributeValues"] = {
            **day["ExpressionAttributeValues"],
            ":room": {"N": str(room)},
        }
        day["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    parts: list[TransactWriteItemTypeDef] = [{"Update": day}]
    if limits.requests_per_minute is not None:
        parts.append({"Update": _counted(table, job, limits.requests_per_minute)})
    return parts


def _booked(table: str, job: Job, change: Booking) -> "UpdateTypeDef":
    numbers = {
        ":reserved": change.reserved,
        ":spent": change.spent,
        ":committed": change.committed,  # beside its parts: conditions cannot add
        ":pictures": change.pictures,
    }
    added = ", ".join(f"{name[1:]} {name}" for name in numbers)
    return {
        "TableName": table,
        "Key": _key(job.client_id, day_of(job.created_at)),
        "UpdateExpression": f"ADD {added} SET #ttl = :ttl",
        "ExpressionAttributeNames": {"#ttl": "ttl"},
        "ExpressionAttributeValues": {
            **{name: {"N": str(number)} for name, number in numbers.items()},
            ":ttl": {"N": seconds(_midnight(job.created_at) + KEEP_DAY)},
        },
    }


def _counted(table: str, job: Job, limit: int) -> "UpdateTypeDef":
    minute = job.created_at.astimezone(UTC)
    return {
        "TableName": table,
        "Key": _key(job.client_id, f"minute#{minute:%Y-%m-%dT%H:%M}"),
        "UpdateExpression": "ADD #count :one SET #ttl = :ttl",
        "ConditionExpression": "attribute_not_exists(#count) OR #count < :limit",
        "ExpressionAttributeNames": {"#count": "count", "#ttl": "ttl"},
        "ExpressionAttributeValues": {
            ":one": {"N": "1"},
            ":limit": {"N": str(limit)},
            ":ttl": {"N": seconds(minute + KEEP_MINUTE)},
        },
    }


def _key(client_id: str, day: str) -> Mapping[str, Any]:
    return {"client_id": {"S": client_id}, "day": {"S": day}}


def _midnight(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
