"""Queries of the jobs table's indexes, which return ordered jobs page by page."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import dropwhile, islice
from typing import Any, Final

from sd3.adapters.dynamodb.job_items import epoch_seconds, job_from_values
from sd3.adapters.dynamodb.sharded_index import (
    BY_CLIENT,
    FAILED_BY_DAY,
    IndexKey,
    IndexReader,
    ShardedIndex,
)
from sd3.adapters.dynamodb.table import MAX_ITEMS_READ, Table, from_item
from sd3.domain.job import Job, JobStatus
from sd3.domain.job_list import JobPage
from sd3.errors import StorageError

_logger = logging.getLogger(__name__)

_MAX_READS: Final = 10
"""The most reads of jobs for one page. A filter that matches few jobs gives a short page and a
cursor instead of a long wait."""


class JobQueries:
    """Reads many jobs at once. Indexes, which are eventually consistent, tell which ones."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._indexes = IndexReader(table)

    def page(
        self,
        client_id: str,
        *,
        status: JobStatus | None,
        limit: int,
        after: tuple[str, str] | None,
        now: datetime,
    ) -> JobPage:
        """Read a page of a client's jobs, newest first; `after` is the last page's position.

        Raises StorageError.
        """
        keys = self._newest_keys(client_id, after)
        jobs: list[Job] = []
        for _ in range(_MAX_READS):
            wanted = list(islice(keys, limit - len(jobs)))
            if not wanted:
                return JobPage(tuple(jobs), None)
            jobs += _readable(
                values
                for values in self._read_all(BY_CLIENT, wanted)
                if values["ttl"] > epoch_seconds(now) and status in {None, values["status"]}
            )
            if len(jobs) == limit:
                break
        last = wanted[-1]
        has_more = next(keys, None) is not None
        return JobPage(tuple(jobs), (last.time, last.id) if has_more else None)

    def find_all(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Read up to MAX_ITEMS_READ jobs as they are now, by id; a deleted one is left out.

        Raises StorageError.
        """
        items = self._table.get_all(set(job_ids), is_consistent=True)
        values = map(from_item, items.values())
        return {job.id: job for job in _readable(one for one in values if "document" in one)}

    def failed_on(self, day: str, *, since: str, until: str) -> Iterator[Job]:
        """Read the jobs that failed on a day, between two times (ISO, UTC), as they are now.

        Raises StorageError.
        """
        keys = self._indexes.keys(FAILED_BY_DAY, day, since=since, until=until, newest_first=False)
        while wanted := list(islice(keys, MAX_ITEMS_READ)):
            yield from _readable(self._read_all(FAILED_BY_DAY, wanted, is_consistent=True))

    def _newest_keys(self, client_id: str, after: tuple[str, str] | None) -> Iterator[IndexKey]:
        if after is None:
            return self._indexes.keys(BY_CLIENT, client_id, newest_first=True)
        # Other jobs can have been created at the same moment, so this moment is read again.
        keys = self._indexes.keys(BY_CLIENT, client_id, until=after[0], newest_first=True)
        return dropwhile(lambda key: (key.time, key.id) >= after, keys)

    def _read_all(
        self, index: ShardedIndex, keys: Sequence[IndexKey], *, is_consistent: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Read the values of the items that are still where the index has them, in order.

        An index follows its table a moment later. Meanwhile the item can be gone, or its job can
        have been deleted or redriven.
        """
        items = self._table.get_all({key.id for key in keys}, is_consistent=is_consistent)
        for key in keys:
            item = items.get(key.id)
            if item and index.key_of(item) == key:
                yield from_item(item)


def _readable(items: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
    """Read jobs. One that this version cannot read is left out, so that the others can be seen."""
    for values in items:
        try:
            yield job_from_values(values)
        except StorageError as error:
            _logger.error("job left out of a list: %s", error, extra={"job_id": values["id"]})  # noqa: TRY400 - the text of its cause quotes the prompt
