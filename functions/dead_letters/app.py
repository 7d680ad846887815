"""The dead-letter queue's consumer: it fails the jobs that the queue has given up."""

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from sd3.adapters.sqs import parse_message
from sd3.api.batch import RecordProcessor
from sd3.bootstrap import prepare, queue, worker
from sd3.errors import Sd3Error
from sd3.observability import inject_lambda_context, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext


@inject_lambda_context
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Return the messages of a batch that must be received again."""
    return process_partial_response(event, give_up, RecordProcessor(EventType.SQS), context)


def give_up(record: SQSRecord) -> None:
    """Fail the job of a message. After StorageError the message is received again."""
    job_id = parse_message(record.body)
    logger().append_keys(correlation_id=record.message_id, job_id=job_id)
    if job_id is None:
        queue().send_unprocessable(record.body)
        logger().error("dead letter set aside: it names no job")
    else:
        worker().give_up(job_id, Sd3Error("The job's workers died or failed too often."))
        logger().error("job given up by the queue")


prepare(worker)
