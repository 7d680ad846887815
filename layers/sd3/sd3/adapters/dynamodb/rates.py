"""Rates: the count of a client's accepted requests in a minute."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.table import to_item
from sd3.adapters.dynamodb.usage_items import KEEP_MINUTE, minute_key
from sd3.domain.job import Job
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class RateReachedError(Exception):
    """The minute has all of its requests."""


class RequestCounts:
    """Counts requests by plain updates: an item takes many more of them than transactions."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    @contextmanager
    def counted(self, job: Job, limit: int | None) -> Iterator[None]:
        """Count a new job's request during the block, and take it back if the job is not made.

        It stays counted after a StorageError, since the job is perhaps made. Raises
        RateReachedError and StorageError. Without a limit nothing is counted.
        """
        if limit is None:
            yield
            return
        with storage_errors(
            "The usage table could not be used.",
            instead={"ConditionalCheckFailedException": lambda _error: RateReachedError()},
        ):
            self._add(job, 1, limit)
        try:
            yield
        except StorageError:
            raise
        except Exception:
            with storage_errors("The usage table could not be used."):
                self._add(job, -1, None)
            raise

    def _add(self, job: Job, change: int, limit: int | None) -> None:
        condition: dict[str, Any] = {}
        values = {":change": change, ":ttl": epoch_seconds(job.created_at + KEEP_MINUTE)}
        if limit is not None:
            condition["ConditionExpression"] = "attribute_not_exists(#count) OR #count < :limit"
            values[":limit"] = limit
        self._client.update_item(
            TableName=self._table,
            Key=minute_key(job.client_id, job.created_at),
            UpdateExpression="ADD #count :change SET #ttl = :ttl",
            ExpressionAttributeNames={"#count": "count", "#ttl": "ttl"},
            ExpressionAttributeValues=to_item(values),
            **condition,
        )
