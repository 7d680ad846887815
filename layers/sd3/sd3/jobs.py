"""The jobs table: a job's life as conditional writes."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from sd3.errors import LeaseLostError, NotFoundError, StorageError
from sd3.models import Job, JobStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


_JOB_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class JobStore:
    """Jobs in DynamoDB, one item each.

    `document` holds the job as JSON; beside it stand the attributes that conditions look at
    (status, attempt, lease_until), and `ttl`, by which DynamoDB removes the item.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def create(self, job: Job) -> None:
        """Write a new job; raises StorageError, also when the id is taken."""
        if not self._put(job, ConditionExpression="attribute_not_exists(id)"):
            raise StorageError("The job's id is taken.")

    def end(self, job: Job) -> None:
        """Write the end of a running attempt.

        Raises LeaseLostError when another attempt owns the job or it has ended, and StorageError.
        """
        if not self._put(
            job,
            ConditionExpression="#status = :running AND attempt = :attempt",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":running": {"S": JobStatus.RUNNING},
                ":attempt": {"N": str(job.attempt)},
            },
        ):
            raise LeaseLostError("The job was ended by another attempt.")

    def get(self, job_id: str, *, now: datetime) -> Job:
        """Read a job; raises NotFoundError, also past its expiry, and StorageError."""
        if not _JOB_ID.fullmatch(job_id):
            raise NotFoundError("There is no such job.")
        try:
            reply = self._client.get_item(
                TableName=self._table, Key={"id": {"S": job_id}}, ConsistentRead=True
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The jobs table could not be read.") from error
        item = reply.get("Item")
        if item is None or int(item["ttl"]["N"]) <= now.timestamp():
            raise NotFoundError("There is no such job.")
        return Job.model_validate_json(item["document"]["S"])

    def _put(self, job: Job, **condition: Any) -> bool:
        """Write the whole item; False when the condition did not hold."""
        try:
            self._client.put_item(TableName=self._table, Item=_item(job), **condition)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and (
                error.response["Error"]["Code"] == "ConditionalCheckFailedException"
            ):
                return False
            raise StorageError("The jobs table could not be written.") from error
        return True


def _item(job: Job) -> "dict[str, AttributeValueTypeDef]":
    item: dict[str, AttributeValueTypeDef] = {
        "id": {"S": job.id},
        "client_id": {"S": job.client_id},
        "created_at": {"S": job.created_at.isoformat()},
        "status": {"S": job.status},
        "attempt": {"N": str(job.attempt)},
        "ttl": {"N": str(int(job.expires_at.timestamp()))},
        "document": {"S": job.model_dump_json()},
    }
    if job.lease_until:
        item["lease_until"] = {"N": str(int(job.lease_until.timestamp()))}
    return item
