"""The queue of jobs for the worker: SQS, one job's id in each message."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pydantic_core

from sd3.adapters.aws import storage_errors
from sd3.domain.job import JOB_ID

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS: Final = 900
"""SQS delivers a message no later."""


class SqsJobQueue:
    """Messages `{"job_id": ...}`. Nothing is sent twice to back off: a message is left to wait."""

    def __init__(
        self, client: "Callable[[], SQSClient]", url: str, *, unprocessable_url: str = ""
    ) -> None:
        self._client = client  # a function: most that read jobs never send
        self._url = url
        self._unprocessable_url = unprocessable_url

    def send(self, job_id: str, *, delay_seconds: int = 0) -> None:
        """Have a worker look at a job, after up to 900 s. Raises StorageError."""
        self._send(self._url, message_body(job_id), min(delay_seconds, MAX_DELAY_SECONDS))

    def send_unprocessable(self, body: str) -> None:
        """Keep a message that nobody can read, for people to look at. Raises StorageError."""
        self._send(self._unprocessable_url, body, 0)

    def leave(self, receipt_handle: str, *, seconds: int) -> None:
        """Have a received message come again after `seconds`. Raises StorageError."""
        with storage_errors("A message could not be left for later."):
            self._client().change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )

    def _send(self, url: str, body: str, delay_seconds: int) -> None:
        with storage_errors("The job could not be queued."):
            self._client().send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay_seconds)


def message_body(job_id: str) -> str:
    """The body of a job's message."""
    return pydantic_core.to_json({"job_id": job_id}).decode()


def job_id_in(body: str) -> str | None:
    """The job that a message is about; None when it is not such a message."""
    try:
        values = pydantic_core.from_json(body)
    except ValueError:
        return None
    job_id = values.get("job_id") if isinstance(values, dict) else None
    return job_id if isinstance(job_id, str) and JOB_ID.fullmatch(job_id) else None
