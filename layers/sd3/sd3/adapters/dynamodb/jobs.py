"""The jobs table, in which every change of a job is a conditional write."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.dynamodb.budgets import Budgets
from sd3.adapters.dynamodb.counts import ClientCounts, CountReachedError
from sd3.adapters.dynamodb.job_items import (
    DELETED,
    deleted_item_from,
    epoch_seconds,
    item_from,
    job_from_values,
    key_id,
    key_item_from,
    result_id,
    result_item_from,
)
from sd3.adapters.dynamodb.job_queries import JobQueries
from sd3.adapters.dynamodb.rejections import RejectionCache
from sd3.adapters.dynamodb.reservation import NoRoomError
from sd3.adapters.dynamodb.table import (
    ConditionFailedError,
    Table,
    from_item,
    to_item,
)
from sd3.domain.billing import budget_exceeded, rate_limited, total_budget_exceeded
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
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

_WRITE: Final = "write_id"
"""The attribute that differs with every write of a job."""


class JobStore(JobQueries):
    """Jobs in DynamoDB, one item each, which every write replaces as a whole.

    The attribute `document` is the job as JSON. Other attributes copy the fields that conditions
    and indexes need. By `ttl` DynamoDB removes the item. A write succeeds only if the version is
    still the one that was read. The table's stream has every write, and the ledger is made from it.
    Only a new job whose client has a budget is written in a transaction, with its reservation.
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
        super().__init__(Table(client, table, sleep=sleep, jitter=jitter))
        usage = Table(client, usage_table, sleep=sleep, jitter=jitter)
        self._budgets = Budgets(usage, jitter=jitter)
        self.counts = ClientCounts(client, usage_table)
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
            raise IdempotencyMismatchError("The id of this request is another job's.") from error

    def find_idempotency_record(
        self, client_id: str, key: str, *, now: datetime
    ) -> IdempotencyRecord | None:
        """Find the record of a client's Idempotency-Key. Raises StorageError."""
        values = self._read(key_id(client_id, key))
        return _record_from(values) if values and not _is_over(values, now=now) else None

    def find_result(self, client_id: str, key: str) -> str | None:
        """Find the id of the job with a client's result, which may be gone. Raises StorageError."""
        values = self._read(result_id(client_id, key))
        return str(values["job_id"]) if values else None

    def note_result(self, job: Job) -> None:
        """Let an ended job's result be found, instead of an earlier one. Raises StorageError."""
        if job.result_key:
            self._table.put(result_item_from(job, job.result_key))

    def hold(self, job: Job, key: str, record: IdempotencyRecord, *, until: datetime) -> bool:
        """Note in `record`, the job's, that a caller is held until then.

        Return False when another caller was faster. When a response was lost, botocore repeats the
        write, and its condition finds what it has written. Raises StorageError.
        """
        was = record.held_until.isoformat() if record.held_until else "-"
        item = self._table.get(key_id(job.client_id, key))
        if item is None:
            return False
        held = {**item, **to_item({"held_until": until.isoformat()})}
        try:
            self._table.put(
                held,
                ConditionExpression="job_id = :job AND held_until = :was",
                ExpressionAttributeValues=to_item({":job": job.id, ":was": was}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailedError as error:
            return error.failed[0] == held
        return True

    def save(self, job: Job) -> Job:
        """Write the next state of a job.

        Raises LeaseLostError when the stored job has changed since it was read, and StorageError.
        """
        stored = job.model_copy(update={"version": job.version + 1})
        try:
            self._put(
                _written(stored),
                ConditionExpression="version = :read",
                ExpressionAttributeValues=to_item({":read": job.version}),
            )
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

        Raises NotFoundError for a missing job and another client's job. Raises GoneError for a job
        that was deleted or has expired, until DynamoDB has removed its item, and StorageError.
        """
        values = self._read(job_id) if JOB_ID.fullmatch(job_id) else None
        if values is None or client_id not in {None, values["client_id"]}:
            raise NotFoundError("There is no such job.")
        if values["status"] == DELETED:
            raise GoneError("The job was deleted.")
        if _is_over(values, now=now):
            raise GoneError("The job has expired.")
        return job_from_values(values)

    def _read(self, item_id: str) -> dict[str, Any] | None:
        item = self._table.get(item_id)
        return from_item(item) if item else None

    def _create(
        self, puts: "list[TransactWriteItemTypeDef]", job: Job, limits: ClientLimits
    ) -> Job:
        """Write a new job together with `puts`. A taken id or key has precedence over a budget."""
        budgets = _budgets(job, limits)
        stored = job.model_copy(update={"budgets": tuple(budgets)})
        item = _written(stored)
        new = {"ConditionExpression": "attribute_not_exists(id)"}
        try:
            with self.counts.counted(stored, limits.requests_per_minute):
                if puts or budgets:
                    puts = [*puts, self._table.put_part(item, **new)]
                    self._budgets.reserve(stored, budgets, puts)
                else:
                    self._put(item, **new)
        except CountReachedError as error:
            self._rejections.note_rate(job.client_id, now=job.created_at)
            raise rate_limited(limits, now=job.created_at) from error
        except NoRoomError as error:
            raise self._rejection(error, stored, limits) from error
        return stored

    def _put(self, item: "dict[str, AttributeValueTypeDef]", **condition: Any) -> None:
        """Write a job's item. Raises ConditionFailedError and StorageError.

        When a response was lost, botocore repeats the write, and its condition finds what it has
        written.
        """
        try:
            self._table.put(item, **condition, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ConditionFailedError as error:
            if error.failed[0].get(_WRITE) != item[_WRITE]:
                raise

    def _rejection(self, error: NoRoomError, job: Job, limits: ClientLimits) -> RequestError:
        now, micros = job.created_at, job.usage.committed
        if error.owner == JWT_CLIENTS:
            self._rejections.note_total(micros, now=now)
            return total_budget_exceeded(now=now)
        self._rejections.note_budget(job.client_id, micros, left=error.left, now=now)
        return budget_exceeded(micros, limits, left=error.left, now=now)


def _budgets(job: Job, limits: ClientLimits) -> dict[str, int]:
    """Return the budgets in which a new job's cost is reserved, by their owners."""
    budgets = {
        job.client_id: limits.daily_budget_micros,
        JWT_CLIENTS: limits.total_daily_budget_micros,
    }
    return {owner: budget for owner, budget in budgets.items() if budget is not None}


def _is_over(values: Mapping[str, Any], *, now: datetime) -> bool:
    """Return whether an item's time is over. DynamoDB removes it later, within some days."""
    ttl: int = values["ttl"]
    return ttl <= now.timestamp()


def _written(job: Job) -> "dict[str, AttributeValueTypeDef]":
    """Build the item of one write of a job, which has a mark of its own."""
    return {**item_from(job), **to_item({_WRITE: token_hex(8)})}


def _record_from(values: Mapping[str, str]) -> IdempotencyRecord:
    held_until = values.get("held_until")
    return IdempotencyRecord(
        values["job_id"],
        values["fingerprint"],
        datetime.fromisoformat(held_until) if held_until else None,
    )
