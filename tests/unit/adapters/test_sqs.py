"""What is sent to the queue."""

from typing import Any

import pytest

from sd3.adapters.sqs import SqsJobQueue
from tests.support.factories.stored_jobs import job


@pytest.mark.parametrize("trace", ["Root=1-67891233-abcdef012345678912345678;Sampled=1", None])
def test_a_message_carries_the_trace_of_its_sender(trace: str | None) -> None:
    sent: list[dict[str, Any]] = []

    class Client:
        def send_message(self, **message: Any) -> None:
            sent.append(message)

    client: Any = Client()
    queue = SqsJobQueue(lambda: client, "jobs", unprocessable_url="aside", trace=lambda: trace)
    queue.send(job("job-1"))
    queue.send_all([(job("job-2"), 60)])
    queue.send_unprocessable("{}")
    assert [message["QueueUrl"] for message in sent] == ["jobs", "jobs", "aside"]
    header = {"DataType": "String", "StringValue": trace}
    attributes = {"AWSTraceHeader": header} if trace else None
    assert [message.get("MessageSystemAttributes") for message in sent] == [attributes] * 3


def test_a_message_is_hidden_in_the_queue_that_it_came_from() -> None:
    changed: list[str] = []

    class Client:
        def change_message_visibility(self, **change: Any) -> None:
            changed.append(change["QueueUrl"])

    client: Any = Client()
    queue = SqsJobQueue(lambda: client, "https://sqs.eu-central-1.amazonaws.com/1/jobs")
    queue.set_visibility("x", seconds=1)
    queue.set_visibility("x", seconds=1, queue_arn="arn:aws:sqs:eu-central-1:1:batch-jobs")
    assert [url.rpartition("/")[2] for url in changed] == ["jobs", "batch-jobs"]
