"""The consumer of the queues of jobs: it works on each message's job until the job has ended."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.batch import EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from sd3.adapters.sqs import parse_message
from sd3.api.batch import RecordProcessor, RetryLaterError
from sd3.bootstrap import master_secret, prepare, queue, upstream_keys, upstreams, worker
from sd3.errors import Sd3Error
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

_RETRY_SECONDS: Final = 60
"""The wait after an error of our own. Without it, the message would return after half an hour."""


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Return the messages of a batch that must be received again."""
    return process_partial_response(event, process, RecordProcessor(EventType.SQS), context)


def process(record: SQSRecord, lambda_context: "LambdaContext") -> None:
    """Work on the job of a message. After any exception the message is received again soon."""
    try:
        wait = _work(record, seconds=lambda_context.get_remaining_time_in_millis() / 1000)
        if wait is not None:
            _delay(record, seconds=wait)
    except Exception:
        with suppress(Sd3Error):  # then the message returns after the queue's visibility timeout
            _delay(record, seconds=_RETRY_SECONDS)
        raise
    if wait is not None:
        logger().info("message delayed", extra={"seconds": wait})
        raise RetryLaterError


def _delay(record: SQSRecord, *, seconds: int) -> None:
    queue().set_visibility(
        record.receipt_handle, seconds=seconds, queue_arn=record.event_source_arn
    )


def _work(record: SQSRecord, *, seconds: float) -> int | None:
    """Return None when nothing is left to do, else the seconds until the next receive."""
    job_id, receives = parse_message(record.body), int(record.attributes.approximate_receive_count)
    logger().append_keys(correlation_id=record.message_id, job_id=job_id, receives=receives)
    if job_id is None:
        queue().send_unprocessable(record.body)
        logger().error("message set aside: it names no job")
        return None
    sent_at = datetime.fromtimestamp(int(record.attributes.sent_timestamp) / 1000, UTC)
    wait = worker().process(job_id, seconds=seconds, sent_at=sent_at, receives=receives)
    if wait is None:
        logger().info("message done")
    return wait


prepare(worker, upstreams, upstream_keys, master_secret)
