"""The usage table: the costs of clients' jobs, written in the same transactions as the jobs."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.table import Item, from_item, to_item
from sd3.domain.billing import (
    DailyUsage,
    UsageEntry,
    budget_exceeded,
    day_of,
    midnight,
    next_day,
    next_minute,
    rate_limited,
    total_budget_exceeded,
)
from sd3.domain.client import JWT_CLIENTS, ClientLimits
from sd3.domain.job import Job
from sd3.errors import RequestError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        TransactWriteItemTypeDef,
        UpdateTypeDef,
    )

KEEP_DAY: Final = timedelta(days=40)
"""Longer than the 30 days that GET /usage shows."""

KEEP_MINUTE: Final = timedelta(minutes=5)


def usage_from_item(item: Item) -> UsageEntry:
    """Read the usage of a day from its item."""
    return UsageEntry.model_validate(from_item(item))


def record_usage(table: str, job: Job, change: UsageEntry) -> "list[TransactWriteItemTypeDef]":
    """Build the parts of a transaction that add a change of usage to the job's day.

    The day of the group that the job is recorded for has a part as well, if its budget changes. It
    does not when a job costs what was reserved. So most jobs wait once for the item of their group.
    """
    parts: list[TransactWriteItemTypeDef] = [
        {"Update": _recorded(table, job.client_id, job, change)}
    ]
    if job.recorded_for and change.committed:
        parts.append({"Update": _recorded(table, job.recorded_for, job, _of_group(change))})
    return parts


def reserve(table: str, job: Job, limits: ClientLimits) -> "list[TransactWriteItemTypeDef]":
    """Build the parts of a transaction that reserve a new job's cost within its client's limits.

    The first part is the client's day. The second is the group's, if the job is recorded for one.
    """
    day = _recorded(table, job.client_id, job, job.usage)
    parts: list[TransactWriteItemTypeDef] = [
        {"Update": _within(limits.daily_budget_micros, day, job.usage)}
    ]
    if job.recorded_for:
        group_day = _recorded(table, job.recorded_for, job, _of_group(job.usage))
        parts.append({"Update": _within(limits.total_daily_budget_micros, group_day, job.usage)})
    if limits.requests_per_minute is not None:
        parts.append({"Update": _counted(table, job, limits.requests_per_minute)})
    return parts


def _of_group(change: UsageEntry) -> UsageEntry:
    """Return what a group's day has of a change: only what counts against its budget."""
    return UsageEntry(reserved=change.committed)


def _within(budget: int | None, day: "UpdateTypeDef", change: UsageEntry) -> "UpdateTypeDef":
    """Add the condition that a day's budget, if there is one, has room for a change."""
    if budget is not None:
        room = budget - change.committed
        # A day without usage has room for a job that fits the whole budget.
        first = "attribute_not_exists(committed) OR " if room >= 0 else ""
        day["ConditionExpression"] = f"{first}committed <= :room"
        day["ExpressionAttributeValues"] = {
            **day["ExpressionAttributeValues"],
            **to_item({":room": room}),
        }
        day["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return day


def _recorded(table: str, owner: str, job: Job, change: UsageEntry) -> "UpdateTypeDef":
    numbers = {
        "reserved": change.reserved,
        "spent": change.spent,
        "committed": change.committed,  # stored beside its parts, since conditions cannot add
        "images": change.images,
    }
    values: dict[str, object] = {"ttl": epoch_seconds(midnight(job.created_at) + KEEP_DAY)}
    if job.client_name and owner == job.client_id:
        values["client_name"] = job.client_name  # for people who read the table
    added = ", ".join(f"{name} :{name}" for name in numbers)
    return {
        "TableName": table,
        "Key": _key(owner, day_of(job.created_at)),
        "UpdateExpression": f"ADD {added} SET {', '.join(f'#{name} = :{name}' for name in values)}",
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": to_item(
            {f":{name}": value for name, value in (numbers | values).items()}
        ),
    }


def _counted(table: str, job: Job, limit: int) -> "UpdateTypeDef":
    minute = job.created_at.astimezone(UTC)
    return {
        "TableName": table,
        "Key": _key(job.client_id, f"minute#{minute:%Y-%m-%dT%H:%M}"),
        "UpdateExpression": "ADD #count :one SET #ttl = :ttl",
        "ConditionExpression": "attribute_not_exists(#count) OR #count < :limit",
        "ExpressionAttributeNames": {"#count": "count", "#ttl": "ttl"},
        "ExpressionAttributeValues": to_item(
            {":one": 1, ":limit": limit, ":ttl": epoch_seconds(minute + KEEP_MINUTE)}
        ),
    }


def _key(client_id: str, day: str) -> "dict[str, AttributeValueTypeDef]":
    return to_item({"client_id": client_id, "day": day})


KEEP_BUDGET: Final = timedelta(seconds=5)
"""How long a rejected amount is rejected again, even if a refund makes room for it meanwhile."""


class _Rejection(NamedTuple):
    until: datetime
    micros: int = 0
    left: int | None = None
    """What is left of the budget; None for a rejection by the rate limit."""


class RejectionCache:
    """The last rejections of this process, by client."""

    def __init__(self) -> None:
        self._last: dict[str, _Rejection] = {}

    def note_budget(self, client_id: str, micros: int, *, left: int, now: datetime) -> None:
        """Record that a budget had `left` micro-dollars left, too few for `micros`."""
        self._note(client_id, _Rejection(min(now + KEEP_BUDGET, next_day(now)), micros, left), now)

    def note_total(self, micros: int, *, now: datetime) -> None:
        """Record that the budget which clients share had no room for `micros`."""
        until = min(now + KEEP_BUDGET, next_day(now))
        self._note(JWT_CLIENTS, _Rejection(until, micros), now)

    def note_rate(self, client_id: str, *, now: datetime) -> None:
        """Record that the rate limit of the current minute was reached."""
        self._note(client_id, _Rejection(next_minute(now)), now)

    def find(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> RequestError | None:
        """Return the error for a request that costs `micros`, or None if none is cached."""
        if limits.total_daily_budget_micros is not None:
            total = self._last.get(JWT_CLIENTS)
            if total and now < total.until and micros >= total.micros:
                return total_budget_exceeded(now=now)
        last = self._last.get(client_id)
        if last is None or now >= last.until:
            return None
        if last.left is None:
            return rate_limited(limits, now=now) if limits.requests_per_minute else None
        if limits.daily_budget_micros is None or micros < last.micros:
            return None
        return budget_exceeded(micros, limits, left=last.left, now=now)

    def _note(self, client_id: str, rejection: _Rejection, now: datetime) -> None:
        self._last = {one: last for one, last in self._last.items() if last.until > now}
        self._last[client_id] = rejection


class UsageStore:
    """Reads the ledger. It has one item for each client and day, which jobs.JobStore writes."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def days(self, client_id: str, *, since: str, until: str) -> tuple[DailyUsage, ...]:
        """Read the days (ISO) from `since` to `until` that have usage, newest first.

        Raises StorageError.
        """
        with storage_errors("The usage table could not be read."):
            reply = self._client.query(
                TableName=self._table,
                KeyConditionExpression="client_id = :client AND #day BETWEEN :since AND :until",
                ExpressionAttributeNames={"#day": "day"},
                ExpressionAttributeValues=to_item(
                    {":client": client_id, ":since": since, ":until": until}
                ),
                ConsistentRead=True,
                ScanIndexForward=False,
            )
        return tuple(
            DailyUsage(from_item(item)["day"], usage_from_item(item)) for item in reply["Items"]
        )
