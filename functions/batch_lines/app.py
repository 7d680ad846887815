"""The consumer of the queue of batches: it makes jobs of their lines, and writes their results."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.batch import EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from sd3.adapters.key_queue import parse_key
from sd3.api.batch import RecordProcessor, RetryLaterError
from sd3.bootstrap import batch_queue, batch_steps, prepare, queue_client, upstreams
from sd3.domain.batch import BatchTask
from sd3.errors import Sd3Error
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

_RETRY_SECONDS: Final = 5
_MAX_RETRY_SECONDS: Final = 300
"""The waits after errors: they grow, since SQS gives a message out 20 times only."""


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Return the messages of a batch that must be received again."""
    return process_partial_response(event, process, RecordProcessor(EventType.SQS), context)


def process(record: SQSRecord, lambda_context: "LambdaContext") -> None:
    """Take the step of a message. After any exception the message comes again soon."""
    receives = int(record.attributes.approximate_receive_count)
    try:
        wait = _step(record, receives, lambda_context.get_remaining_time_in_millis() / 1000)
        if wait is not None:
            batch_queue().set_visibility(record.receipt_handle, seconds=wait)
    except Exception:
        seconds = min(_RETRY_SECONDS * receives, _MAX_RETRY_SECONDS)
        with suppress(Sd3Error):  # then the message returns after the queue's visibility timeout
            batch_queue().set_visibility(record.receipt_handle, seconds=seconds)
        raise
    if wait is not None:
        logger().info("step delayed", extra={"seconds": wait})
        raise RetryLaterError


def _step(record: SQSRecord, receives: int, seconds: float) -> int | None:
    """Return None when nothing is left to do, else the seconds until the next receive."""
    task = parse_key(BatchTask, record.body)
    if task is None:
        batch_queue().send_unprocessable(record.body)
        logger().error("message set aside: it names no step of a batch")
        return None
    logger().append_keys(correlation_id=task.batch_id, receives=receives, step=task.step)
    sent_at = datetime.fromtimestamp(int(record.attributes.sent_timestamp) / 1000, UTC)
    wait = batch_steps().take(task, seconds=seconds, sent_at=sent_at, receives=receives)
    if wait is None:
        logger().info("step done", extra={"part": task.part})
    return wait


prepare(batch_steps, batch_queue, queue_client, upstreams)
