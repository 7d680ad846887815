"""The consumer of S3 ObjectCreated events: each file in the inbox becomes a job."""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from sd3.bootstrap import inbox, prepare, queue_client, upstreams
from sd3.domain.inbox import InboxObject
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class UnknownEventError(Exception):
    """The event, or a record of it, does not report that S3 has a new file."""


@inject_lambda_context
def handler(event: Any, context: "LambdaContext") -> None:
    """Create a job from each file, or write the error of a bad file as its result.

    The first failure is raised after all other files are done: Lambda repeats the event, which
    leads to the same jobs. Raises StorageError and UnknownEventError.
    """
    failures: list[Exception] = []
    for record in records_of(event):
        try:
            receive(record, context)
        except Exception as error:  # noqa: BLE001 - one file must not keep the others from their jobs
            if failures:
                logger().error("another file failed", exc_info=error)
            failures.append(error)
    if failures:
        raise failures[0]


def receive(record: object, context: "LambdaContext") -> None:
    """Receive the file of one record. Raises StorageError and UnknownEventError."""
    upload = upload_from(record)
    logger().append_keys(correlation_id=upload.job_id, job_id=upload.job_id)
    error = inbox().receive(upload, seconds=context.get_remaining_time_in_millis() / 1000)
    if error:
        logger().info("file rejected", extra={"code": error.code})
    else:
        logger().info("file received")


def records_of(event: Any) -> list[object]:
    """Return the records of S3's event, or EventBridge's event as the only one.

    A record of Lambda's, as UnprocessableQueue gets it, holds the event that failed, and perhaps
    another such record. S3's test event has no records. Raises UnknownEventError.
    """
    while isinstance(event, dict) and "requestPayload" in event:
        event = event["requestPayload"]
    match event:
        case {"Records": [_, *_] as records}:
            return list(records)
        case {"source": "aws.s3", "detail-type": "Object Created"}:
            return [event]
        case {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            return []
    raise UnknownEventError("The event is not S3's: docs/inbox.md says which events are.")


def upload_from(record: object) -> InboxObject:
    """Read the file of a record. In S3's own, the key is form-encoded: a space is a plus sign.

    Raises UnknownEventError.
    """
    match record:
        case {
            "eventSource": "aws:s3",
            "eventName": str(name),
            "s3": {
                "bucket": {"name": str(bucket)},
                "object": {"key": str(key), "eTag": str(etag), "sequencer": str(order)} as file,
            },
        } if name.startswith("ObjectCreated:"):
            version_id = file.get("versionId") or ""
            return InboxObject(bucket, unquote_plus(key), etag, order, version_id)
        case {
            "source": "aws.s3",
            "detail": {
                "bucket": {"name": str(bucket)},
                "object": {"key": str(key), "etag": str(etag), "sequencer": str(order)} as file,
            },
        }:
            return InboxObject(bucket, key, etag, order, file.get("version-id") or "")
    raise UnknownEventError("A record is not of a new file in S3: docs/inbox.md says which are.")


prepare(inbox, queue_client, upstreams)
