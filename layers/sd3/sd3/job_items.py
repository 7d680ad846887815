"""A job as an item of the jobs table, and back."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sd3.models import Job, JobStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, Mapping[str, Any]]


def job_from(item: Item) -> Job:
    """The job that an item holds, also one from the table's stream."""
    return Job.model_validate_json(item["document"]["S"])


def item_from(job: Job) -> "dict[str, AttributeValueTypeDef]":
    """The item of a job: the document, and copies of what conditions and indexes look at."""
    item: dict[str, AttributeValueTypeDef] = {
        "id": {"S": job.id},
        "client_id": {"S": job.client_id},
        "created_at": {"S": job.created_at.isoformat()},
        "status": {"S": job.status},
        "attempt": {"N": str(job.attempt)},
        "ttl": {"N": seconds(job.expires_at)},
        "document": {"S": job.model_dump_json()},
    }
    if job.lease_until:
        item["lease_until"] = {"N": seconds(job.lease_until)}
    if job.status is JobStatus.FAILED and job.completed_at:
        item["completed_at"] = {"S": job.completed_at.isoformat()}
        item["failed_day"] = {"S": job.completed_at.date().isoformat()}
    return item


def key_id(client_id: str, key: str) -> str:
    """The id of the item that holds an Idempotency-Key: it can be no job's."""
    return f"key#{client_id}#{hashlib.sha256(key.encode()).hexdigest()}"


def seconds(time: datetime) -> str:
    """Whole seconds of the epoch, as DynamoDB writes numbers."""
    return str(int(time.timestamp()))


def statuses(*names: JobStatus) -> dict[str, Any]:
    """Values of an expression that names statuses, each as `:status`."""
    return {f":{name}": {"S": name} for name in names}
