"""The jobs table: a job's life as conditional writes."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from sd3.errors import GoneError, LeaseLostError, NotFoundError, StorageError
from sd3.job_items import (
    DELETED,
    Item,
    deleted_item_from,
    item_from,
    job_from,
    key_id,
    key_item_from,
    seconds,
    start_key,
    statuses,
)
from sd3.models import JOB_ID, Job, JobPage, JobStatus
from sd3.ports import Holder

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BY_CLIENT: Final = "by_client"
"""The index of jobs by client_id and created_at."""
FAILED_BY_DAY: Final = "failed_by_day"
"""The index of failed jobs by the day (UTC, ISO) and the time of their end."""
_CONDITION: Final = frozenset(("ConditionalCheckFailedException", "TransactionCanceledException"))
_TRIES: Final = 5
_MAX_QUERIES: Final = 10
"""Of one page: a filter that fits few jobs gives a short page and a cursor, not a long wait."""


class JobStore:
    """Jobs in DynamoDB, one item each, always written whole and on a condition.

    `document` is the job as JSON. Beside it stand copies of what conditions and indexes look at,
    and `ttl`, by which DynamoDB removes the item.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def create(self, job: Job) -> bool:
        """Write a new job; False when its id is taken. Raises StorageError."""
        try:
            self._put(item_from(job), ConditionExpression="attribute_not_exists(id)")
        except _ConditionFailedError:
            return False
        return True

    def create_once(
        self, job: Job, key: str, *, fingerprint: str, instead_of: str | None
    ) -> Holder | None:
        """Write a new job and its Idempotency-Key, both or neither; None when that was done.

        Otherwise the job that holds the key, unless that is `instead_of`, whose place is taken.
        `fingerprint` is of the request. Raises StorageError.
        """
        put_job = {
            "TableName": self._table,
            "Item": item_from(job),
            "ConditionExpression": "attribute_not_exists(id)",
        }
        put_key = {
            "TableName": self._table,
            "Item": key_item_from(job, key, fingerprint=fingerprint),
            "ConditionExpression": "attribute_not_exists(id) OR #ttl <= :now OR job_id = :old",
            "ExpressionAttributeNames": {"#ttl": "ttl"},
            "ExpressionAttributeValues": {
                ":now": {"N": seconds(job.created_at)},
                ":old": {"S": instead_of or "-"},
            },
        }
        for _ in range(_TRIES):  # a call with the same key at the same time cancels both
            try:
                self._call(
                    self._client.transact_write_items,
                    TransactItems=[{"Put": put_key}, {"Put": put_job}],
                )
            except _ConditionFailedError:
                if holder := self.holder(job.client_id, key, now=job.created_at):
                    return holder
            else:
                return None
        raise StorageError("The Idempotency-Key could not be taken.")

    def holder(self, client_id: str, key: str, *, now: datetime) -> Holder | None:
        """Who holds a client's Idempotency-Key. Raises StorageError."""
        item = self._get(key_id(client_id, key))
        if item is None or int(item["ttl"]["N"]) <= now.timestamp():
            return None
        return Holder(item["job_id"]["S"], item["fingerprint"]["S"])

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
        """Leave of an ended job that it was deleted, for a day. Raises StorageError."""
        self._put(deleted_item_from(job, now=now))

    def get(self, job_id: str, *, client_id: str | None = None, now: datetime) -> Job:
        """Read a job, of `client_id` if one is given.

        Raises NotFoundError, also past its expiry and for another client's, GoneError for the
        client's own that was deleted, and StorageError.
        """
        item = self._get(job_id) if JOB_ID.fullmatch(job_id) else None
        if item is None or int(item["ttl"]["N"]) <= now.timestamp():
            raise NotFoundError("There is no such job.")
        if client_id is not None and item["client_id"]["S"] != client_id:
            raise NotFoundError("There is no such job.")
        if item["status"]["S"] == DELETED:
            raise GoneError("The job was deleted.")
        return job_from(item)

    def page(
        self,
        client_id: str,
        *,
        status: JobStatus | None,
        limit: int,
        after: tuple[str, str] | None,
        now: datetime,
    ) -> JobPage:
        """A client's jobs, newest first, after the position of an earlier page."""
        names = {"#ttl": "ttl"}
        values: dict[str, Any] = {":client": {"S": client_id}, ":now": {"N": seconds(now)}}
        conditions = "#ttl > :now"
        if status:
            names["#status"], values[":status"] = "status", {"S": status}
            conditions += " AND #status = :status"
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": BY_CLIENT,
            "KeyConditionExpression": "client_id = :client",
            "FilterExpression": conditions,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": False,
        }
        jobs: list[Job] = []
        position = after
        for _ in range(_MAX_QUERIES):
            if position:
                query["ExclusiveStartKey"] = start_key(client_id, *position)
            reply = self._call(self._client.query, **query, Limit=limit - len(jobs))
            jobs += map(job_from, reply["Items"])
            last = reply.get("LastEvaluatedKey")
            position = last and (last["created_at"]["S"], last["id"]["S"])
            if position is None or len(jobs) == limit:
                break
        return JobPage(tuple(jobs), position)

    def failed_on(self, day: str, *, since: str, until: str) -> Iterator[Job]:
        """The jobs that failed on a day, from the first of two times (ISO, UTC) to the second."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": FAILED_BY_DAY,
            "KeyConditionExpression": "failed_day = :day"
            " AND completed_at BETWEEN :since AND :until",
            "ExpressionAttributeValues": {
                ":day": {"S": day},
                ":since": {"S": since},
                ":until": {"S": until},
            },
        }
        while True:
            reply = self._call(self._client.query, **query)
            yield from map(job_from, reply["Items"])
            if "LastEvaluatedKey" not in reply:
                return
            query["ExclusiveStartKey"] = reply["LastEvaluatedKey"]

    def _get(self, item_id: str) -> Item | None:
        reply = self._call(
            self._client.get_item,
            TableName=self._table,
            Key={"id": {"S": item_id}},
            ConsistentRead=True,
        )
        found: Item | None = reply.get("Item")
        return found

    def _write(
        self, job: Job, *, condition: str, values: dict[str, Any], attempt: int | None = None
    ) -> None:
        fence = job.attempt if attempt is None else attempt
        try:
            self._put(
                item_from(job),
                ConditionExpression=f"attempt = :attempt AND {condition}",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={**values, ":attempt": {"N": str(fence)}},
            )
        except _ConditionFailedError as error:
            raise LeaseLostError("The job has changed meanwhile.") from error

    def _put(self, item: Item, **condition: Any) -> None:
        self._call(self._client.put_item, TableName=self._table, Item=item, **condition)

    def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return operation(**arguments)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _CONDITION:
                raise _ConditionFailedError from error
            raise StorageError("The jobs table could not be used.") from error


class _ConditionFailedError(Exception):
    """What was expected of an item did not hold."""
