"""S3 ObjectCreated: a request or an image that was dropped into the inbox becomes a job."""

from typing import Any
from urllib.parse import unquote_plus

from sd3.bootstrap import inbox
from sd3.domain.inbox import InboxObject
from sd3.observability import logger


def handler(event: dict[str, Any], context: Any) -> None:
    """Make a job of each file, or answer what is wrong with it.

    StorageError is not caught: Lambda repeats the event, for which it is the same jobs.
    """
    for record in event.get("Records", []):  # S3's test event has none
        upload = upload_from(record["s3"])
        fields = {"job_id": upload.job_id}
        refused = inbox().receive(upload, seconds=context.get_remaining_time_in_millis() / 1000)
        logger().info(
            "file refused" if refused else "file received",
            extra=fields | ({"code": refused.code} if refused else {}),
        )


def upload_from(told: dict[str, Any]) -> InboxObject:
    """Read what S3 says of a file. Its key comes encoded as in a form: a space is a plus sign."""
    file = told["object"]
    return InboxObject(
        bucket=told["bucket"]["name"],
        key=unquote_plus(file["key"]),
        etag=file["eTag"],
        sequencer=file["sequencer"],
        version_id=file.get("versionId", ""),
    )
