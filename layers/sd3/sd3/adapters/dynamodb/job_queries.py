"""Queries of the jobs table's indexes, which return ordered jobs page by page."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.dynamodb.job_items import epoch_seconds, job_from
from sd3.adapters.dynamodb.table import JobTable, from_item, to_item
from sd3.domain.job import Job, JobStatus
from sd3.domain.job_list import JobPage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

BY_CLIENT: Final = "by_client"
"""The index of jobs by client_id and created_at."""

FAILED_BY_DAY: Final = "failed_by_day"
"""The index of failed jobs by the day (UTC, ISO) and the time at which they ended."""

_MAX_QUERIES: Final = 10
"""The most queries for one page. A filter that matches few jobs gives a short page and a cursor
instead of a long wait."""


class JobQueries:
    """Reads many jobs at once, from indexes that are eventually consistent."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def page(
        self,
        client_id: str,
        *,
        status: JobStatus | None,
        limit: int,
        after: tuple[str, str] | None,
        now: datetime,
    ) -> JobPage:
        """Read a page of a client's jobs, newest first; `after` is the last page's position."""
        names = {"#ttl": "ttl"}
        values: dict[str, object] = {":client": client_id, ":now": epoch_seconds(now)}
        conditions = "#ttl > :now"
        if status:
            names["#status"], values[":status"] = "status", status
            conditions += " AND #status = :status"
        query: dict[str, Any] = {
            "IndexName": BY_CLIENT,
            "KeyConditionExpression": "client_id = :client",
            "FilterExpression": conditions,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": to_item(values),
            "ScanIndexForward": False,
        }
        jobs: list[Job] = []
        position = after
        for _ in range(_MAX_QUERIES):
            if position:
                query["ExclusiveStartKey"] = _start_key(client_id, *position)
            reply = self._table.query(**query, Limit=limit - len(jobs))
            jobs += map(job_from, reply["Items"])
            last = from_item(reply.get("LastEvaluatedKey", {}))
            position = (last["created_at"], last["id"]) if last else None
            if position is None or len(jobs) == limit:
                break
        return JobPage(tuple(jobs), position)

    def failed_on(self, day: str, *, since: str, until: str) -> Iterator[Job]:
        """Read the jobs that failed on a day, between two times (ISO, UTC)."""
        query: dict[str, Any] = {
            "IndexName": FAILED_BY_DAY,
            "KeyConditionExpression": "failed_day = :day"
            " AND completed_at BETWEEN :since AND :until",
            "ExpressionAttributeValues": to_item({":day": day, ":since": since, ":until": until}),
        }
        while True:
            reply = self._table.query(**query)
            yield from map(job_from, reply["Items"])
            if "LastEvaluatedKey" not in reply:
                return
            query["ExclusiveStartKey"] = reply["LastEvaluatedKey"]


def _start_key(client_id: str, created_at: str, job_id: str) -> "dict[str, AttributeValueTypeDef]":
    return to_item({"client_id": client_id, "created_at": created_at, "id": job_id})
