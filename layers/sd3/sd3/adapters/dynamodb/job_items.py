"""A job as an item of the jobs table, and back."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from sd3.domain.job import Job, JobStatus
from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, Mapping[str, Any]]

DELETED: Final = "deleted"
"""The status of what is left of a deleted job: not one of a job's, so that none is made of it."""

KEEP_DELETED: Final = timedelta(days=1)

KEEP_KEY: Final = timedelta(days=1)


def job_from(item: Item) -> Job:
    """The job that an item holds, also one from the table's stream.

    Raises StorageError for one that cannot be read, perhaps since a later version wrote it.
    """
    try:
        return Job.model_validate_json(item["document"]["S"])
    except ValidationError:
        # Its text quotes the prompt, and would be logged.
        raise StorageError("A job in the table cannot be read.") from None


def item_from(job: Job) -> "dict[str, AttributeValueTypeDef]":
    """The item of a job: the document, and copies of what conditions and indexes look at."""
    item: dict[str, AttributeValueTypeDef] = {
        "id": {"S": job.id},
        "client_id": {"S": job.client_id},
        "created_at": {"S": job.created_at.isoformat()},
        "status": {"S": job.status},
        "attempt": {"N": str(job.attempt)},
        "version": {"N": str(job.version)},
        "ttl": {"N": seconds(job.expires_at)},
        "document": {"S": job.model_dump_json()},
    }
    if job.lease_until:
        item["lease_until"] = {"N": seconds(job.lease_until)}
    if job.status is JobStatus.FAILED and job.completed_at:
        item["completed_at"] = {"S": job.completed_at.isoformat()}
        item["failed_day"] = {"S": job.completed_at.date().isoformat()}
    return item


def deleted_item_from(job: Job, *, now: datetime) -> "dict[str, AttributeValueTypeDef]":
    """What is left of a deleted job, for a day: that it was this client's."""
    return {
        "id": {"S": job.id},
        "client_id": {"S": job.client_id},
        "status": {"S": DELETED},
        "ttl": {"N": seconds(now + KEEP_DELETED)},
    }


def key_id(client_id: str, key: str) -> str:
    """The id of an Idempotency-Key's item: it can be no job's."""
    return f"key#{client_id}#{hashlib.sha256(key.encode()).hexdigest()}"


def key_item_from(job: Job, key: str, *, fingerprint: str) -> "dict[str, AttributeValueTypeDef]":
    """The item of an Idempotency-Key that a job holds for a day."""
    return {
        "id": {"S": key_id(job.client_id, key)},
        "fingerprint": {"S": fingerprint},
        "job_id": {"S": job.id},
        "ttl": {"N": seconds(job.created_at + KEEP_KEY)},
    }


def start_key(client_id: str, created_at: str, job_id: str) -> "dict[str, AttributeValueTypeDef]":
    """The place in the index of a client's jobs after which a page begins."""
    return {"client_id": {"S": client_id}, "created_at": {"S": created_at}, "id": {"S": job_id}}


def seconds(time: datetime) -> str:
    """Whole seconds of the epoch, as DynamoDB writes numbers."""
    return str(int(time.timestamp()))


def statuses(*names: JobStatus) -> dict[str, Any]:
    """Values of an expression that names statuses, each as `:status`."""
    return {f":{name}": {"S": name} for name in names}
