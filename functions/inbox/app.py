"""The consumer of S3 ObjectCreated events: each file in the inbox becomes a job."""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.data_classes.s3_event import S3Event, S3Message

from sd3.bootstrap import inbox
from sd3.domain.inbox import InboxObject
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> None:
    """Create a job from each file, or write the error of a bad file as its result.

    StorageError is not caught: Lambda repeats the event, which leads to the same jobs.
    """
    if "Records" not in event:  # S3's test event
        return
    for record in S3Event(event).records:
        upload = upload_from(record.s3)
        logger().append_keys(correlation_id=upload.job_id, job_id=upload.job_id)
        error = inbox().receive(upload, seconds=context.get_remaining_time_in_millis() / 1000)
        if error:
            logger().info("file rejected", extra={"code": error.code})
        else:
            logger().info("file received")


def upload_from(message: S3Message) -> InboxObject:
    """Read the object of an event. Its key is form-encoded: a space is a plus sign."""
    file = message.get_object
    return InboxObject(
        bucket=message.bucket.name,
        key=unquote_plus(file.key),
        etag=file.etag,
        sequencer=file.sequencer,
        version_id=file.version_id or "",
    )
