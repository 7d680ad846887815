"""The consumer of the jobs table's stream: it publishes the end of every job."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import (
    DynamoDBRecord,
    StreamRecord,
)
from pydantic import ValidationError

from sd3.adapters.sqs import message_body
from sd3.api.batch import RecordProcessor
from sd3.bootstrap import batch_ends, job_event_publisher, prepare, queue, webhook_announcer
from sd3.domain.job import Job, JobStatus
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Return the record from which the stream must be read again, if one failed."""
    processor = RecordProcessor(EventType.DynamoDBStreams)
    return process_partial_response(event, publish_end, processor, context)


def publish_end(record: DynamoDBRecord) -> None:
    """Publish the end of a job, and begin its delivery to a webhook.

    After StorageError the record is read again.
    """
    change = StreamRecord(record["dynamodb"])
    if not _has_ended(change.new_image) or _has_ended(change.old_image):
        return
    logger().append_keys(correlation_id=change.new_image["id"], job_id=change.new_image["id"])
    try:
        job = Job.model_validate_json(change.new_image.get("document", ""))
    except ValidationError:  # a retry would block the stream; the error's text quotes the prompt
        queue().send_unprocessable(message_body(change.new_image["id"]))
        logger().error("end set aside: the job cannot be read")
        return
    # Before the rest, which counts. Repeated, both are the same.
    if job.batch:
        batch_ends().count(job)
    webhook_announcer().announce(job)
    job_event_publisher().publish(job)
    logger().info("job ended", extra={"status": job.status})


def _has_ended(image: Mapping[str, Any]) -> bool:
    """Return whether an item is an ended job, not a key's item nor a deleted job's."""
    return any(image.get("status") == one for one in JobStatus if one.is_terminal)


prepare(job_event_publisher, webhook_announcer)
