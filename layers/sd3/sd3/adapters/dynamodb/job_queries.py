"""The jobs table's indexes: jobs in an order, page by page."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sd3.adapters.dynamodb.job_items import job_from, seconds, start_key
from sd3.adapters.dynamodb.table import JobTable
from sd3.domain.job import Job, JobStatus
from sd3.domain.job_list import JobPage

BY_CLIENT: Final = "by_client"
"""The index of jobs by client_id and created_at."""

FAILED_BY_DAY: Final = "failed_by_day"
"""The index of failed jobs by the day (UTC, ISO) and the time of their end."""

_MAX_QUERIES: Final = 10
"""Of one page: a filter that fits few jobs gives a short page and a cursor, not a long wait."""


class JobQueries:
    """Reads many jobs at once; an index can be a moment behind."""

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
        """A client's jobs, newest first, after the position of an earlier page."""
        names = {"#ttl": "ttl"}
        values: dict[str, Any] = {":client": {"S": client_id}, ":now": {"N": seconds(now)}}
        conditions = "#ttl > :now"
        if status:
            names["#status"], values[":status"] = "status", {"S": status}
            conditions += " AND #status = :status"
        query: dict[str, Any] = {
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
            reply = self._table.query(**query, Limit=limit - len(jobs))
            jobs += map(job_from, reply["Items"])
            last = reply.get("LastEvaluatedKey")
            position = last and (last["created_at"]["S"], last["id"]["S"])
            if position is None or len(jobs) == limit:
                break
        return JobPage(tuple(jobs), position)

    def failed_on(self, day: str, *, since: str, until: str) -> Iterator[Job]:
        """The jobs that failed on a day, from the first of two times (ISO, UTC) to the second."""
        query: dict[str, Any] = {
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
            reply = self._table.query(**query)
            yield from map(job_from, reply["Items"])
            if "LastEvaluatedKey" not in reply:
                return
            query["ExclusiveStartKey"] = reply["LastEvaluatedKey"]
