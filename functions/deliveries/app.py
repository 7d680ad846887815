"""The consumer of the queue of deliveries: it tries each one until its receiver has heard."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.batch import EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from sd3.adapters.key_queue import parse_key
from sd3.api.batch import RecordProcessor, RetryLaterError
from sd3.bootstrap import delivery_queue, master_secret, prepare, webhook_deliveries
from sd3.domain.delivery import DeliveryKey
from sd3.errors import Sd3Error
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

_RETRY_SECONDS: Final = 60
_MAX_RETRY_SECONDS: Final = 900
"""The waits after errors of our own: they grow, since SQS gives a message out 1000 times only."""


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Return the messages of a batch that must be received again."""
    return process_partial_response(event, deliver, RecordProcessor(EventType.SQS), context)


def deliver(record: SQSRecord) -> None:
    """Make an attempt at the delivery of a message. After any exception the message comes again."""
    try:
        wait = _attempt(record)
        if wait is not None:
            delivery_queue().set_visibility(record.receipt_handle, seconds=wait)
    except Exception:
        seconds = min(_RETRY_SECONDS * _receives(record), _MAX_RETRY_SECONDS)
        with suppress(Sd3Error):  # then the message returns after the queue's visibility timeout
            delivery_queue().set_visibility(record.receipt_handle, seconds=seconds)
        raise
    if wait is not None:
        logger().info("delivery delayed", extra={"seconds": wait})
        raise RetryLaterError


def _attempt(record: SQSRecord) -> int | None:
    """Return None when nothing is left to do, else the seconds until the next receive."""
    key = parse_key(DeliveryKey, record.body)
    if key is None:
        delivery_queue().send_unprocessable(record.body)
        logger().error("message set aside: it names no delivery")
        return None
    receives = _receives(record)
    logger().append_keys(correlation_id=key.id, job_id=key.job_id, receives=receives)
    sent_at = datetime.fromtimestamp(int(record.attributes.sent_timestamp) / 1000, UTC)
    if receives == 1:
        webhook_deliveries().note_wait(key, sent_at=sent_at)
    try:
        wait = webhook_deliveries().attempt(key, receives=receives)
    except Sd3Error:  # of a table, the bus or the master secret
        webhook_deliveries().note_wait(key, sent_at=sent_at)
        raise
    if wait is None:
        logger().info("delivery done")
    return wait


def _receives(record: SQSRecord) -> int:
    return int(record.attributes.approximate_receive_count)


prepare(webhook_deliveries, delivery_queue, master_secret)
