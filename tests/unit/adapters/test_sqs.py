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
