"""The worker's queue of jobs in SQS. Each message has the id of one job.

It is a fair queue: each message is of its client's group. When one client has many messages that
wait or are worked on, SQS delivers those of the others first. Groups keep no order.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pydantic_core

from sd3.adapters.aws import storage_errors
from sd3.domain.job import JOB_ID, Job

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY_SECONDS: Final = 900
"""The longest delay of a message in SQS."""

_AT_ONCE: Final = 10
"""Messages that are sent at the same time."""


class SqsQueue:
    """A queue whose messages are sent one by one, and are hidden for a while to back off."""

    def __init__(
        self,
        client: "Callable[[], SQSClient]",
        url: str,
        *,
        unprocessable_url: str = "",
        trace: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`trace` returns the X-Ray trace of an invocation, which the readers of messages join."""
        self._client = client  # a function: most requests that read jobs send nothing
        self._url = url
        self._unprocessable_url = unprocessable_url
        self._trace = trace

    def send_unprocessable(self, body: str) -> None:
        """Set a message that cannot be read aside in a queue for operators. Raises StorageError."""
        self._send(self._unprocessable_url, body)

    def set_visibility(self, receipt_handle: str, *, seconds: int, queue_arn: str = "") -> None:
        """Make a received message visible again after `seconds`. Raises StorageError.

        `queue_arn` is of the queue that it came from, if the function reads others of the stack
        too: their URLs differ in the name only.
        """
        url = self._url
        if queue_arn:
            url = f"{url.rpartition('/')[0]}/{queue_arn.rpartition(':')[2]}"
        with storage_errors("The visibility of a message could not be changed."):
            self._client().change_message_visibility(
                QueueUrl=url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )

    def send_body(self, body: str, **options: Any) -> None:
        """Send a message with options of SQS. Raises StorageError."""
        self._send(self._url, body, **options)

    def _send(self, url: str, body: str, **options: Any) -> None:
        if trace := self._trace():
            header = {"DataType": "String", "StringValue": trace}
            options["MessageSystemAttributes"] = {"AWSTraceHeader": header}
        with storage_errors("The message could not be queued."):
            self._client().send_message(QueueUrl=url, MessageBody=body, **options)


class SqsJobQueue(SqsQueue):
    """Sends messages `{"job_id": ...}`."""

    def send(self, job: Job, *, delay_seconds: int = 0) -> None:
        """Send a message for a job, with a delay of at most 900 s. Raises StorageError."""
        delay = min(delay_seconds, MAX_DELAY_SECONDS)
        self.send_body(message_body(job.id), DelaySeconds=delay, MessageGroupId=job.client_id)

    def send_all(self, delayed: Sequence[tuple[Job, int]]) -> None:
        """Send a message for each job, with its delay in seconds. Raises StorageError.

        SendMessageBatch is not used: the embedded AWS wants a permission for it that AWS has not.
        """
        if not delayed:
            return
        with ThreadPoolExecutor(min(len(delayed), _AT_ONCE)) as pool:
            list(pool.map(lambda each: self.send(each[0], delay_seconds=each[1]), delayed))


def message_body(job_id: str) -> str:
    """Return the body of a job's message."""
    return pydantic_core.to_json({"job_id": job_id}).decode()


def parse_message(body: str) -> str | None:
    """Return the id of the job that a message names, or None if it names none."""
    try:
        values = pydantic_core.from_json(body)
    except ValueError:
        return None
    job_id = values.get("job_id") if isinstance(values, dict) else None
    return job_id if isinstance(job_id, str) and JOB_ID.fullmatch(job_id) else None
