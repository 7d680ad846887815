"""The conversion between jobs and items of the jobs table."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from sd3.adapters.dynamodb.sharded_index import shard_of
from sd3.adapters.dynamodb.table import Item, from_item, to_item
from sd3.domain.job import Job, JobStatus
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

DELETED: Final = "deleted"
"""The status of a deleted job's item. No job has this status."""

KEEP_DELETED: Final = timedelta(days=1)

KEEP_KEY: Final = timedelta(days=1)

_RESULT: Final = "result#"


def job_from(item: Item) -> Job:
    """Read a job from an item of the table or of its stream; see `job_from_values`."""
    return job_from_values(from_item(item))


def job_from_values(values: Mapping[str, Any]) -> Job:
    """Read a job from the values of its item.

    Raises StorageError for an item that cannot be read. A later version may have written it.
    """
    try:
        return Job.model_validate_json(values["document"])
    except ValidationError:
        # The cause is left out: its text quotes the prompt, and it would be logged.
        raise StorageError("A job in the table cannot be read.") from None


def item_from(job: Job) -> "dict[str, AttributeValueTypeDef]":
    """Build a job's item: its document, and copies of the fields for conditions and indexes."""
    values: dict[str, object] = {
        "id": job.id,
        "client_id": job.client_id,
        "client_shard": shard_of(job.client_id, job.id),
        "created_at": job.created_at.isoformat(),
        "status": job.status,
        "attempt": job.attempt,
        "version": job.version,
        "ttl": epoch_seconds(job.expires_at),
        # Without warnings: about values of a later version, they would quote a prompt. Null is what
        # every field is that is missing, and DynamoDB counts by the kilobyte.
        "document": job.model_dump_json(warnings=False, exclude_none=True),
    }
    if job.lease_until:
        values["lease_until"] = epoch_seconds(job.lease_until)
    if job.status is JobStatus.QUEUED:
        values["waiting_shard"] = shard_of(job.lane, job.id)
        values["waiting_since"] = job.queued_at.isoformat()
    if job.status is JobStatus.FAILED and job.completed_at:
        values["completed_at"] = job.completed_at.isoformat()
        values["failed_shard"] = shard_of(job.completed_at.date().isoformat(), job.id)
    return to_item(values)


def deleted_item_from(job: Job, *, now: datetime) -> "dict[str, AttributeValueTypeDef]":
    """Build the item of a deleted job. For a day it records whose job it was, and its writes.

    It has no `version`: a write of the job by who read it before would find it.
    """
    return to_item(
        {
            "id": job.id,
            "client_id": job.client_id,
            "created_at": job.created_at.isoformat(),
            "last_version": job.version,
            "status": DELETED,
            "ttl": epoch_seconds(now + KEEP_DELETED),
        }
    )


def key_id(client_id: str, key: str) -> str:
    """Return the id of an Idempotency-Key's item. No job can have such an id."""
    return f"{key_prefix(client_id)}{hashlib.sha256(key.encode()).hexdigest()}"


def key_prefix(client_id: str) -> str:
    """Return what the ids of the items of a client's Idempotency-Keys begin with."""
    return f"key#{client_id}#"


def key_item_from(
    job: Job, key: str, *, fingerprint: str, held_until: datetime | None = None
) -> "dict[str, AttributeValueTypeDef]":
    """Build the item of an Idempotency-Key, which belongs to a job for a day."""
    values: dict[str, object] = {
        "id": key_id(job.client_id, key),
        "fingerprint": fingerprint,
        "job_id": job.id,
        "ttl": epoch_seconds(job.created_at + KEEP_KEY),
    }
    if held_until:
        values["held_until"] = held_until.isoformat()
    return to_item(values)


def result_id(client_id: str, key: str) -> str:
    """Return the id of the item that names the job of a client's result."""
    return f"{result_prefix(client_id)}{key}"


def result_prefix(client_id: str) -> str:
    """Return what the ids of the items of a client's results begin with. No job has such an id."""
    return f"{_RESULT}{client_id}#"


def is_result(values: Mapping[str, Any]) -> bool:
    """Return whether an item names the job of a result."""
    return str(values["id"]).startswith(_RESULT)


def result_item_from(job: Job, key: str) -> "dict[str, AttributeValueTypeDef]":
    """Build the item by which a job's result is found, for as long as there is the job."""
    return to_item(
        {
            "id": result_id(job.client_id, key),
            "job_id": job.id,
            "ttl": epoch_seconds(job.expires_at),
        }
    )


def epoch_seconds(time: datetime) -> int:
    """Return a time as whole seconds since the epoch."""
    return int(time.timestamp())
