"""Batches of SQS messages and stream records: which come again, and how bugs are counted."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, FailureResponse
from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from sd3.errors import Sd3Error, UnexpectedError
from sd3.observability import logger


class RetryLaterError(Exception):
    """The record is to come again although nothing failed. The raiser has logged why."""


class RecordProcessor(BatchProcessor):
    """Reports the records that are to come again, and fails the invocation for a bug.

    An Sd3Error is logged here, once. Every other exception is a bug, and so is an UnexpectedError.
    BatchProcessor would report
    its record as well, and Lambda's metric Errors would never count it. So it is raised, after all
    other records are done. A stream is processed up to its first record that failed: Lambda repeats
    it from there, and the order stays.
    """

    def __init__(self, event_type: EventType) -> None:
        super().__init__(event_type, raise_on_entire_batch_failure=False)

    def process(self) -> list[tuple[Any, ...]]:
        """Process the records in their order."""
        results: list[tuple[Any, ...]] = []
        for record in self.records:
            results.append(self._process_record(record))
            if self.exceptions and self.event_type is EventType.DynamoDBStreams:
                break
        return results

    def failure_handler(self, record: Any, exception: ExceptionInfo) -> FailureResponse:
        """Note a record that failed."""
        error = exception[1]
        if isinstance(error, Sd3Error):
            logger().error("record failed", exc_info=error, extra={"code": error.code})
        return super().failure_handler(record, exception)

    def response(self) -> PartialItemFailureResponse:
        """Report the records that are to come again. Raises the first bug; others are logged."""
        errors = [error for _, error, _ in self.exceptions if error]
        bugs = [error for error in errors if _is_bug(error)]
        for bug in bugs[1:]:
            logger().error("another bug in the same batch", exc_info=bug)
        if bugs:
            raise bugs[0]
        return super().response()


def _is_bug(error: BaseException) -> bool:
    return isinstance(error, UnexpectedError) or not isinstance(error, Sd3Error | RetryLaterError)
