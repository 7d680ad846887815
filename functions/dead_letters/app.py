"""SQS: what the queue has given up; the job behind it is ended, with the reason."""

from typing import Any

from sd3.adapters.sqs import parse_message
from sd3.bootstrap import queue, worker
from sd3.errors import Sd3Error
from sd3.observability import logger


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer which messages of a batch are to come again."""
    left = [record["messageId"] for record in event["Records"] if not _done(record)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in left]}


def _done(record: dict[str, Any]) -> bool:
    """Deal with one message; False when that failed."""
    job_id = parse_message(record["body"])
    fields = {"message_id": record["messageId"], "job_id": job_id}
    try:
        if job_id is None:
            queue().send_unprocessable(record["body"])
            logger().error("dead letter set aside: it names no job", extra=fields)
        else:
            worker().give_up(job_id, Sd3Error("The job's workers died or failed too often."))
            logger().error("job given up by the queue", extra=fields)
    except Sd3Error as error:
        logger().error("dead letter failed", exc_info=error, extra=fields | {"code": error.code})
        return False
    return True
