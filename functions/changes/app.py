"""The consumer of the jobs table's stream that records usage and guards jobs that run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import (
    DynamoDBRecord,
    StreamRecord,
)
from pydantic import ValidationError

from sd3.adapters.sqs import message_body
from sd3.bootstrap import job_changes, prepare, queue, queue_client
from sd3.domain.job import Job, JobChange
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> None:  # noqa: ARG001 - Lambda's
    """Process the writes of jobs. After StorageError the stream repeats all of them."""
    changes = list(_changes(event["Records"]))
    job_changes().process(changes)
    logger().info("writes processed", extra={"count": len(changes)})


def _changes(records: list[dict[str, Any]]) -> Iterator[JobChange]:
    """Read the writes of jobs. What cannot be read is set aside: repeated, it would block all."""
    for record in records:
        change = StreamRecord(DynamoDBRecord(record)["dynamodb"])
        if "document" not in change.new_image:
            continue  # the item of a key or of a deleted job, or one that has expired
        try:
            before = change.old_image.get("document")
            yield JobChange(
                Job.model_validate_json(before) if before else None,
                Job.model_validate_json(change.new_image["document"]),
            )
        except ValidationError:  # its text quotes the prompt
            queue().send_unprocessable(message_body(change.new_image["id"]))
            logger().error("write set aside: the job cannot be read")


prepare(job_changes, queue_client)
