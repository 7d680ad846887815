"""Counts of what clients do in a minute, or in the time that a wait for a job takes.

They are plain updates, of which an item takes many more than it takes transactions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.table import Item, from_item, to_item
from sd3.adapters.dynamodb.usage_items import KEEP_COUNT, minute_key, wait_key
from sd3.domain.billing import rate_limited, uploads_limited
from sd3.domain.client import UPLOADS_PER_MINUTE, ClientLimits
from sd3.domain.job import Job
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_REQUESTS: Final = "count"
_UPLOADS: Final = "uploads"
_WAITS: Final = "waits"


class CountReachedError(Exception):
    """A count has reached its limit, and nothing was counted; `counts` are those of the item."""

    def __init__(self, counts: Mapping[str, Any]) -> None:
        super().__init__()
        self.counts = counts


class ClientCounts:
    """The counts in the usage table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    @contextmanager
    def counted(self, job: Job, limit: int | None) -> Iterator[None]:
        """Count a new job's request during the block, and take it back if the job is not made.

        It stays counted after a StorageError, since the job is perhaps made. Raises
        CountReachedError and StorageError. Without a limit nothing is counted.
        """
        if limit is None:
            yield
            return
        key, at = minute_key(job.client_id, job.created_at), job.created_at
        self._add(key, {_REQUESTS: limit}, at=at)
        try:
            yield
        except StorageError:
            raise
        except Exception:
            self._add(key, {_REQUESTS: None}, at=at, change=-1)
            raise

    def count_upload(self, client_id: str, limits: ClientLimits, *, now: datetime) -> None:
        """Count a form for an upload or an image by URL, and a request if the client's are counted.

        Raises RateLimitedError and StorageError.
        """
        bounds: dict[str, int | None] = {_UPLOADS: UPLOADS_PER_MINUTE}
        if limits.requests_per_minute is not None:
            bounds[_REQUESTS] = limits.requests_per_minute
        try:
            self._add(minute_key(client_id, now), bounds, at=now)
        except CountReachedError as error:
            has_forms = error.counts.get(_UPLOADS, 0) < UPLOADS_PER_MINUTE
            raise (
                rate_limited(limits, now=now) if has_forms else uploads_limited(now=now)
            ) from error

    def count_batch(self, client_id: str, limits: ClientLimits, *, now: datetime) -> None:
        """Count a batch as one request, if the client's are counted.

        Raises RateLimitedError and StorageError.
        """
        if limits.requests_per_minute is None:
            return
        bounds = {_REQUESTS: limits.requests_per_minute}
        try:
            self._add(minute_key(client_id, now), bounds, at=now)
        except CountReachedError as error:
            raise rate_limited(limits, now=now) from error

    def count_wait(self, client_id: str, limit: int, *, now: datetime) -> bool:
        """Count a wait that begins, or return False if too many have begun. Raises StorageError.

        The end of a wait is not counted, so nothing has to be put right when a function dies.
        """
        try:
            self._add(wait_key(client_id, now), {_WAITS: limit}, at=now)
        except CountReachedError:
            return False
        return True

    def _add(
        self,
        key: Mapping[str, Any],
        bounds: Mapping[str, int | None],
        *,
        at: datetime,
        change: int = 1,
    ) -> None:
        """Add `change` to the counts, all or none. One that has reached its bound stops them.

        Raises CountReachedError and StorageError.
        """
        names = {f"#{name}": name for name in bounds}
        values = {f":{name}": bound for name, bound in bounds.items() if bound is not None}
        condition = " AND ".join(
            f"(attribute_not_exists(#{name}) OR #{name} < :{name})"
            for name, bound in bounds.items()
            if bound is not None
        )
        arguments: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        with storage_errors(
            "The usage table could not be used.",
            instead={"ConditionalCheckFailedException": _reached},
        ):
            self._client.update_item(
                TableName=self._table,
                Key=key,
                UpdateExpression=f"ADD {', '.join(f'{name} :change' for name in names)}"
                " SET #ttl = :ttl",
                ExpressionAttributeNames={**names, "#ttl": "ttl"},
                ExpressionAttributeValues=to_item(
                    {**values, ":change": change, ":ttl": epoch_seconds(at + KEEP_COUNT)}
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )


def _reached(error: ClientError) -> CountReachedError:
    return CountReachedError(from_item(cast("Item", error.response.get("Item", {}))))
