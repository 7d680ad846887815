"""SQS: each message names a job; when it is done, the job has ended, or somebody else ends it."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from sd3.adapters.sqs import parse_message
from sd3.bootstrap import queue, worker
from sd3.errors import Sd3Error
from sd3.observability import logger

_AGAIN_SECONDS: Final = 60
"""After a failure of ours: by itself a message would come again after half an hour."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer which messages of a batch are to come again."""
    left = [record["messageId"] for record in event["Records"] if not _done(record, context)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in left]}


def _done(record: dict[str, Any], context: Any) -> bool:
    """Deal with one message; False when it was left for later."""
    fields = {
        "message_id": record["messageId"],
        "receives": int(record["attributes"]["ApproximateReceiveCount"]),
    }
    try:
        wait = _work(record, fields, seconds=context.get_remaining_time_in_millis() / 1000)
        if wait is None:
            return True
        logger().info("message left for later", extra=fields | {"seconds": wait})
        queue().set_visibility(record["receiptHandle"], seconds=wait)
    except Sd3Error as error:
        logger().error("message failed", exc_info=error, extra=fields | {"code": error.code})
        _leave(record)
    except Exception:
        _leave(record)  # a bug is Lambda's to log and to count
        raise
    return False


def _work(record: dict[str, Any], fields: dict[str, Any], *, seconds: float) -> int | None:
    """None when nothing is left to do, else after how many seconds to look again."""
    job_id = parse_message(record["body"])
    if job_id is None:
        queue().send_unprocessable(record["body"])
        logger().error("message set aside: it names no job", extra=fields)
        return None
    fields["job_id"] = job_id
    sent_at = datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, UTC)
    wait = worker().process(job_id, seconds=seconds, sent_at=sent_at, receives=fields["receives"])
    if wait is None:
        logger().info("message done", extra=fields)
    return wait


def _leave(record: dict[str, Any]) -> None:
    with suppress(Sd3Error):  # then it comes again when the queue lets go of it
        queue().set_visibility(record["receiptHandle"], seconds=_AGAIN_SECONDS)
