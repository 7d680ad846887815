"""The jobs table, in which every change of a job is a conditional write."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sd3.adapters.dynamodb.job_items import (
    DELETED,
    deleted_item_from,
    epoch_seconds,
    item_from,
    job_from_values,
    key_id,
    key_item_from,
)
from sd3.adapters.dynamodb.job_queries import JobQueries
from sd3.adapters.dynamodb.ledger import RejectionCache, record_usage, reserve, usage_from_item
from sd3.adapters.dynamodb.table import ConditionFailedError, Item, JobTable, from_item, to_item
from sd3.domain.billing import (
    NO_USAGE,
    budget_exceeded,
    rate_limited,
    total_budget_exceeded,
)
from sd3.domain.client import JWT_CLIENTS, NO_LIMITS, ClientLimits
from sd3.domain.job import JOB_ID, IdempotencyRecord, Job, JobStatus
from sd3.errors import (
    GoneError,
    IdempotencyMismatchError,
    LeaseLostError,
    NotFoundError,
    RequestError,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class JobStore(JobQueries):
    """Jobs in DynamoDB, one item each, which every write replaces as a whole.

    The attribute `document` is the job as JSON. Other attributes copy the fields that conditions
    and indexes need. By `ttl` DynamoDB removes the item. A write succeeds only if the version is
    still the one that was read. The same transaction records the change of the client's usage, so
    usage is never recorded twice or lost, even if a function dies.
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
        self._rejections = RejectionCache()

    def repeat_rejection(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> None:
        """Reject a job from the cache if this process has just rejected one; makes no call.

        `micros` is the most that the job can cost. Raises BudgetExceededError and RateLimitedError.
        """
        if rejection := self._rejections.find(client_id, micros, limits=limits, now=now):
            raise rejection

    def create(self, job: Job, *, limits: ClientLimits = NO_LIMITS) -> Job | None:
        """Write a new job and reserve the most that it can cost; None when its id is taken.

        Raises BudgetExceededError and RateLimitedError when the job would exceed the limits, and
        StorageError.
        """
        try:
            return self._create([], job, limits)
        except ConditionFailedError:
            return None

    def create_once(
        self,
        job: Job,
        key: str,
        *,
        fingerprint: str,
        instead_of: str | None,
        limits: ClientLimits = NO_LIMITS,
        held_until: datetime | None = None,
    ) -> Job | IdempotencyRecord:
        """Write a new job together with its Idempotency-Key, or return the key's existing record.

        A record of the job `instead_of` is replaced. `fingerprint` is the request's, and
        `held_until` the record's. Raises IdempotencyMismatchError when another job has the id, and
        the same errors as `create`.
        """
        put_key = self._table.put_part(
            key_item_from(job, key, fingerprint=fingerprint, held_until=held_until),
            ConditionExpression="attribute_not_exists(id) OR #ttl <= :now OR job_id = :old",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues=to_item(
                {
                    ":now": epoch_seconds(job.created_at),
                    ":old": instead_of or "-",
                }
            ),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        try:
            return self._create([put_key], job, limits)
        except ConditionFailedError as error:
            if item := error.failed.get(0):
                return _record_from(from_item(item))
            raise IdempotencyMismatchError("This request's id is another one's.") from error

    def find_idempotency_record(
        self, client_id: str, key: str, *, now: datetime
    ) -> IdempotencyRecord | None:
        """Find the record of a client's Idempotency-Key. Raises StorageError."""
        values = self._read(key_id(client_id, key), now=now)
        return _record_from(values) if values else None

    def hold(self, job: Job, key: str, record: IdempotencyRecord, *, until: datetime) -> bool:
        """Note in `record`, the job's, that a caller is held until then.

        Return False when another caller was faster. Raises StorageError.
        """
        was = record.held_until.isoformat() if record.held_until else "-"
        try:
            self._table.put(
                key_item_from(job, key, fingerprint=record.fingerprint, held_until=until),
                ConditionExpression="job_id = :job AND held_until = :was",
                ExpressionAttributeValues=to_item({":job": job.id, ":was": was}),
            )
        except ConditionFailedError:
            return False
        return True

    def save(self, job: Job) -> Job:
        """Write the next state of a job, and record the change of its usage in the ledger.

        Raises LeaseLostError when the stored job has changed since it was read, and StorageError.
        """
        stored = job.model_copy(update={"version": job.version + 1, "recorded": job.usage})
        unchanged = {
            "ConditionExpression": "version = :read",
            "ExpressionAttributeValues": to_item({":read": job.version}),
        }
        change = stored.recorded - job.recorded
        try:
            if change == NO_USAGE:
                self._table.put(item_from(stored), **unchanged)
            else:
                put = self._table.put_part(item_from(stored), **unchanged)
                self._table.transact([put, *record_usage(self._usage_table, stored, change)])
        except ConditionFailedError as error:
            raise LeaseLostError("The job has changed meanwhile.") from error
        return stored

    def delete(self, job: Job, *, now: datetime) -> None:
        """Replace an ended job for a day by a record of its deletion; its cost stays recorded.

        Raises LeaseLostError when the job is open again, and StorageError.
        """
        try:
            self._table.put(
                deleted_item_from(job, now=now),
                ConditionExpression="NOT #status IN (:queued, :running)",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=to_item(
                    {":queued": JobStatus.QUEUED, ":running": JobStatus.RUNNING}
                ),
            )
        except ConditionFailedError as error:
            raise LeaseLostError("The job has changed meanwhile.") from error

    def get(self, job_id: str, *, client_id: str | None = None, now: datetime) -> Job:
        """Read a job; with `client_id`, only a job of that client.

        Raises NotFoundError for a missing job, an expired job and another client's job. Raises
        GoneError for a deleted job, and StorageError.
        """
        values = self._read(job_id, now=now) if JOB_ID.fullmatch(job_id) else None
        if values is None or client_id not in {None, values["client_id"]}:
            raise NotFoundError("There is no such job.")
        if values["status"] == DELETED:
            raise GoneError("The job was deleted.")
        return job_from_values(values)

    def _read(self, item_id: str, *, now: datetime) -> dict[str, Any] | None:
        """Read the values of an item. Return None for an expired item: DynamoDB removes it late."""
        item = self._table.get(item_id)
        values = from_item(item) if item else None
        return values if values and values["ttl"] > now.timestamp() else None

    def _create(
        self, puts: "list[TransactWriteItemTypeDef]", job: Job, limits: ClientLimits
    ) -> Job:
        """Write a new job together with `puts`. A taken id or key has precedence over a limit."""
        group = None if limits.total_daily_budget_micros is None else JWT_CLIENTS
        stored = job.model_copy(update={"recorded": job.usage, "recorded_for": group})
        put = self._table.put_part(
            item_from(stored), ConditionExpression="attribute_not_exists(id)"
        )
        puts = [*puts, put]
        try:
            self._table.transact([*puts, *reserve(self._usage_table, stored, limits)])
        except ConditionFailedError as error:
            if min(error.failed) < len(puts):
                raise
            failed = {at - len(puts): item for at, item in error.failed.items()}
            raise self._rejection(stored, limits, failed) from error
        return stored

    def _rejection(
        self, job: Job, limits: ClientLimits, failed: Mapping[int, Item]
    ) -> RequestError:
        """Build the error of the exceeded limit, by the items of the parts of `reserve`."""
        now, micros = job.created_at, job.usage.committed
        day = failed.get(0)
        if day is None and job.recorded_for and 1 in failed:
            self._rejections.note_total(micros, now=now)
            return total_budget_exceeded(now=now)
        if day is None:
            self._rejections.note_rate(job.client_id, now=now)
            return rate_limited(limits, now=now)
        left = (limits.daily_budget_micros or 0) - usage_from_item(day).committed
        self._rejections.note_budget(job.client_id, micros, left=left, now=now)
        return budget_exceeded(micros, limits, left=left, now=now)


def _record_from(values: Mapping[str, str]) -> IdempotencyRecord:
    held_until = values.get("held_until")
    return IdempotencyRecord(
        values["job_id"],
        values["fingerprint"],
        datetime.fromisoformat(held_until) if held_until else None,
    )
