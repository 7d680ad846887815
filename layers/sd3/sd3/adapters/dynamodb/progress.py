"""What the jobs table tells of open jobs: who waits before them, their images, and the pace."""

import random
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sd3.adapters.dynamodb.job_items import epoch_seconds
from sd3.adapters.dynamodb.sharded_index import WAITING, IndexReader
from sd3.adapters.dynamodb.table import Table, from_item, to_item
from sd3.domain.progress import MAX_POSITION, Pace

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sd3.domain.job import Job

_LONGEST_WAIT: Final = timedelta(days=2)
"""A job that is said to wait for longer waits no more: it would be given up within some hours. It
has expired and is not removed yet, or its message was lost."""

_MOMENT: Final = timedelta(microseconds=1)

_KEEP_IMAGES: Final = timedelta(days=1)

_KEEP_PACE: Final = timedelta(hours=1)
"""What was measured earlier says nothing about the workers of now."""


class ProgressStore:
    """Reads the index of jobs that wait, and items of its own. No job has such an id.

    These items are written without a condition: a write that is lost or comes late does no harm.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table, sleep=time.sleep, jitter=random.random)
        self._indexes = IndexReader(self._table)

    def position(self, job: "Job") -> int:
        """Count the jobs that wait since earlier, up to MAX_POSITION. Raises StorageError."""
        return self._indexes.count(
            WAITING,
            job.lane,
            since=(job.queued_at - _LONGEST_WAIT).isoformat(),
            until=(job.queued_at - _MOMENT).isoformat(),
            most=MAX_POSITION,
        )

    def images(self, job: "Job") -> int:
        """Read how many images the job's attempt has generated. Raises StorageError."""
        values = self._values(_images_id(job))
        done: int = values["done"] if values.get("attempt") == job.attempt else 0
        return done

    def note_images(self, job: "Job", done: int, *, now: datetime) -> None:
        """Write how many images the job's attempt has generated. Raises StorageError."""
        values = {"attempt": job.attempt, "done": done, "ttl": epoch_seconds(now + _KEEP_IMAGES)}
        self._table.put(to_item({"id": _images_id(job), **values}))

    def pace(self, lane: str, *, now: datetime) -> Pace | None:
        """Read the pace of a lane; None if it was not measured of late. Raises StorageError."""
        values = self._values(_pace_id(lane))
        if values.get("ttl", 0) <= now.timestamp():
            return None
        return Pace(values["job_ms"] / 1000, values["apart_ms"] / 1000)

    def note_pace(self, lane: str, pace: Pace, *, now: datetime) -> None:
        """Write the pace of a lane. Raises StorageError."""
        ms = {"job_ms": round(pace.job * 1000), "apart_ms": round(pace.apart * 1000)}
        values = {"id": _pace_id(lane), **ms, "ttl": epoch_seconds(now + _KEEP_PACE)}
        self._table.put(to_item(values))

    def _values(self, item_id: str) -> dict[str, int]:
        return from_item(self._table.get(item_id) or {})


def _images_id(job: "Job") -> str:
    return f"progress#{job.id}"


def _pace_id(lane: str) -> str:
    return f"pace#{lane}"
