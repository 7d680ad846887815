"""The usage table: what jobs cost their clients, recorded in the same write as the job itself."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from sd3.adapters.dynamodb.job_items import Item, seconds
from sd3.domain.billing import (
    DailyUsage,
    UsageEntry,
    budget_exceeded,
    day_of,
    midnight,
    next_day,
    next_minute,
    rate_limited,
)
from sd3.domain.client import ClientLimits
from sd3.domain.job import Job
from sd3.errors import RequestError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

KEEP_DAY: Final = timedelta(days=40)
"""For the 30 days that a client is told of."""

KEEP_MINUTE: Final = timedelta(minutes=5)


def usage_from_item(item: Item) -> UsageEntry:
    """What a day's item has."""
    names = ("reserved", "spent", "images")
    return UsageEntry(**{name: int(item[name]["N"]) for name in names if name in item})


def record_usage(table: str, job: Job, change: UsageEntry) -> "TransactWriteItemTypeDef":
    """Build the part of a transaction that records a change on the job's day."""
    return {"Update": _recorded(table, job, change)}


def reserve(table: str, job: Job, limits: ClientLimits) -> "list[TransactWriteItemTypeDef]":
    """Build the parts of a transaction that reserve a new job's cost within its client's limits."""
    change = job.usage
    day = _recorded(table, job, change)
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


def _recorded(table: str, job: Job, change: UsageEntry) -> "UpdateTypeDef":
    numbers = {
        ":reserved": change.reserved,
        ":spent": change.spent,
        ":committed": change.committed,  # beside its parts: conditions cannot add
        ":images": change.images,
    }
    added = ", ".join(f"{name[1:]} {name}" for name in numbers)
    return {
        "TableName": table,
        "Key": _key(job.client_id, day_of(job.created_at)),
        "UpdateExpression": f"ADD {added} SET #ttl = :ttl",
        "ExpressionAttributeNames": {"#ttl": "ttl"},
        "ExpressionAttributeValues": {
            **{name: {"N": str(number)} for name, number in numbers.items()},
            ":ttl": {"N": seconds(midnight(job.created_at) + KEEP_DAY)},
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


KEEP_BUDGET: Final = timedelta(seconds=5)
"""For so long what did not fit is taken not to fit: what is refunded meanwhile has to wait."""


class _Rejection(NamedTuple):
    until: datetime
    micros: int = 0
    left: int | None = None
    """Of the budget; None when it was the minute's."""


class RejectionCache:
    """The last refusals of this process, by client."""

    def __init__(self) -> None:
        self._last: dict[str, _Rejection] = {}

    def note_budget(self, client_id: str, micros: int, *, left: int, now: datetime) -> None:
        """Note that a budget had no room for so much."""
        self._note(client_id, _Rejection(min(now + KEEP_BUDGET, next_day(now)), micros, left), now)

    def note_rate(self, client_id: str, *, now: datetime) -> None:
        """Note that a minute had no room."""
        self._note(client_id, _Rejection(next_minute(now)), now)

    def find(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> RequestError | None:
        """What a request for so much would be told; None when that is not known."""
        last = self._last.get(client_id)
        if last is None or now >= last.until:
            return None
        if last.left is None:
            return rate_limited(limits, now=now) if limits.requests_per_minute else None
        if limits.daily_budget_micros is None or micros < last.micros:
            return None
        return budget_exceeded(micros, limits, left=last.left, now=now)

    def _note(self, client_id: str, refusal: _Rejection, now: datetime) -> None:
        self._last = {one: last for one, last in self._last.items() if last.until > now}
        self._last[client_id] = refusal


class UsageStore:
    """One item for each client and day, which jobs.JobStore writes."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def days(self, client_id: str, *, since: str, until: str) -> tuple[DailyUsage, ...]:
        """The days from one to another (ISO) that have bookings, newest first.

        Raises StorageError.
        """
        try:
            reply = self._client.query(
                TableName=self._table,
                KeyConditionExpression="client_id = :client AND #day BETWEEN :since AND :until",
                ExpressionAttributeNames={"#day": "day"},
                ExpressionAttributeValues={
                    ":client": {"S": client_id},
                    ":since": {"S": since},
                    ":until": {"S": until},
                },
                ConsistentRead=True,
                ScanIndexForward=False,
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The usage table could not be read.") from error
        return tuple(DailyUsage(item["day"]["S"], usage_from_item(item)) for item in reply["Items"])
