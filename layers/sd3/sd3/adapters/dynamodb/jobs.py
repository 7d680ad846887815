"""The jobs table: a job's life as conditional writes."""

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sd3.adapters.dynamodb.job_items import (
    DELETED,
    Item,
    deleted_item_from,
    item_from,
    job_from,
    key_id,
    key_item_from,
    seconds,
    statuses,
)
from sd3.adapters.dynamodb.job_queries import JobQueries
from sd3.adapters.dynamodb.ledger import RejectionCache, admit, book, usage_from_item
from sd3.adapters.dynamodb.table import ConditionFailedError, JobTable
from sd3.domain.billing import NO_USAGE, budget_exceeded, rate_limited
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.domain.job import (
    JOB_ID,
    IdempotencyRecord,
    Job,
    JobStatus,
    first_version,
    next_version,
    usage_of,
)
from sd3.errors import GoneError, IdempotencyMismatchError, LeaseLostError, NotFoundError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class JobStore(JobQueries):
    """Jobs in DynamoDB, one item each, always written whole and on a condition.

    `document` is the job as JSON. Beside it stand copies of what conditions and indexes look at,
    and `ttl`, by which DynamoDB removes the item. What a write changes of a job's booking is
    recorded in `usage_table` by the same write.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        usage_table: str,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(JobTable(client, table, sleep=sleep, jitter=jitter))
        self._usage_table = usage_table
        self._refusals = RejectionCache()

    def refuse(self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime) -> None:
        """Refuse again what this process has just refused; nothing is called.

        `micros` is what a job would take. Raises BudgetExceededError and RateLimitedError.
        """
        if refusal := self._refusals.find(client_id, micros, limits=limits, now=now):
            raise refusal

    def create(self, job: Job, *, limits: ClientLimits = NO_LIMITS) -> bool:
        """Write a new job and book it; False when its id is taken.

        Raises BudgetExceededError and RateLimitedError where the limits have no room for it, and
        StorageError.
        """
        try:
            self._admit([self._new(job)], job, limits)
        except ConditionFailedError:
            return False
        return True

    def create_once(
        self,
        job: Job,
        key: str,
        *,
        fingerprint: str,
        instead_of: str | None,
        limits: ClientLimits = NO_LIMITS,
    ) -> IdempotencyRecord | None:
        """Write a new job and its Idempotency-Key, both or neither; None when that was done.

        Otherwise the job that holds the key, unless that is `instead_of`, whose place is taken.
        `fingerprint` is of the request. Raises IdempotencyMismatchError when the id is another
        job's, and what `create` does.
        """
        put_key = self._table.put_part(
            key_item_from(job, key, fingerprint=fingerprint),
            ConditionExpression="attribute_not_exists(id) OR #ttl <= :now OR job_id = :old",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={
                ":now": {"N": seconds(job.created_at)},
                ":old": {"S": instead_of or "-"},
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        try:
            self._admit([put_key, self._new(job)], job, limits)
        except ConditionFailedError as error:
            if item := error.failed.get(0):
                return _holder_from(item)
            raise IdempotencyMismatchError("This request's id is another one's.") from error
        return None

    def holder(self, client_id: str, key: str, *, now: datetime) -> IdempotencyRecord | None:
        """Who holds a client's Idempotency-Key. Raises StorageError."""
        item = self._table.get(key_id(client_id, key))
        if item is None or int(item["ttl"]["N"]) <= now.timestamp():
            return None
        return _holder_from(item)

    def claim(self, job: Job, *, now: datetime) -> None:
        """Write the next attempt of a job that waits, or whose attempt has died.

        Raises LeaseLostError when the job is no more as it was read, and StorageError.
        """
        self._write(
            job,
            attempt=job.attempt - 1,
            condition="(#status = :queued OR #status = :running AND lease_until < :now)",
            values={**statuses(JobStatus.QUEUED, JobStatus.RUNNING), ":now": {"N": seconds(now)}},
        )

    def save(self, job: Job) -> None:
        """Write what a running attempt has come to: an end, or back to the queue.

        Raises LeaseLostError when the attempt owns the job no more, and StorageError.
        """
        self._write(job, condition="#status = :running", values=statuses(JobStatus.RUNNING))

    def stop(self, job: Job, *, was: JobStatus | None = None) -> None:
        """Write the end of a job from outside of its attempt, while it waits or runs.

        `was` is the one of the two that it must still be in; see `claim` for what is raised.
        """
        first, second = (was, was) if was else (JobStatus.QUEUED, JobStatus.RUNNING)
        values = {":first": {"S": first}, ":second": {"S": second}}
        self._write(job, condition="#status IN (:first, :second)", values=values)

    def correct(self, job: Job) -> None:
        """Write what a canceled job's last attempt has cost after all; see `stop`."""
        self._write(job, condition="#status = :canceled", values=statuses(JobStatus.CANCELED))

    def redrive(self, job: Job) -> None:
        """Write a failed job as queued again; see `stop`."""
        self._write(job, condition="#status = :failed", values=statuses(JobStatus.FAILED))

    def delete(self, job: Job, *, now: datetime) -> None:
        """Leave of an ended job that it was deleted, for a day; what it has cost stays recorded.

        Raises LeaseLostError when it is open again, and StorageError.
        """
        try:
            self._table.put(
                deleted_item_from(job, now=now),
                ConditionExpression="NOT #status IN (:queued, :running)",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=statuses(JobStatus.QUEUED, JobStatus.RUNNING),
            )
        except ConditionFailedError as error:
            raise LeaseLostError("The job has changed meanwhile.") from error

    def get(self, job_id: str, *, client_id: str | None = None, now: datetime) -> Job:
        """Read a job, of `client_id` if one is given.

        Raises NotFoundError, also past its expiry and for another client's, GoneError for the
        client's own that was deleted, and StorageError.
        """
        item = self._table.get(job_id) if JOB_ID.fullmatch(job_id) else None
        if item is None or int(item["ttl"]["N"]) <= now.timestamp():
            raise NotFoundError("There is no such job.")
        if client_id is not None and item["client_id"]["S"] != client_id:
            raise NotFoundError("There is no such job.")
        if item["status"]["S"] == DELETED:
            raise GoneError("The job was deleted.")
        return job_from(item)

    def _new(self, job: Job) -> "TransactWriteItemTypeDef":
        item = item_from(first_version(job))
        return self._table.put_part(item, ConditionExpression="attribute_not_exists(id)")

    def _admit(
        self, puts: "list[TransactWriteItemTypeDef]", job: Job, limits: ClientLimits
    ) -> None:
        """Write a new job and book it. What is there comes before what there is no room for."""
        try:
            self._table.transact([*puts, *admit(self._usage_table, job, limits)])
        except ConditionFailedError as error:
            if min(error.failed) < len(puts):
                raise
            day = error.failed.get(len(puts))
            if day is None:
                self._refusals.note_rate(job.client_id, now=job.created_at)
                raise rate_limited(limits, now=job.created_at) from error
            micros = usage_of(job).committed
            left = (limits.daily_budget_micros or 0) - usage_from_item(day).committed
            self._refusals.note_budget(job.client_id, micros, left=left, now=job.created_at)
            raise budget_exceeded(micros, limits, left=left, now=job.created_at) from error

    def _write(
        self, job: Job, *, condition: str, values: dict[str, Any], attempt: int | None = None
    ) -> None:
        new = next_version(job)
        on_condition = {
            "ConditionExpression": f"version = :read AND attempt = :attempt AND {condition}",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {
                **values,
                ":read": {"N": str(job.version)},
                ":attempt": {"N": str(job.attempt if attempt is None else attempt)},
            },
        }
        change = new.recorded - job.recorded
        try:
            if change == NO_USAGE:
                self._table.put(item_from(new), **on_condition)
            else:
                put = self._table.put_part(item_from(new), **on_condition)
                self._table.transact([put, book(self._usage_table, new, change)])
        except ConditionFailedError as error:
            raise LeaseLostError("The job has changed meanwhile.") from error


def _holder_from(item: Item) -> IdempotencyRecord:
    return IdempotencyRecord(item["job_id"]["S"], item["fingerprint"]["S"])
