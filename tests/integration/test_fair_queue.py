"""The queue on moto: every message of a job is of its client's group."""

from typing import Any

from sd3.adapters.aws import Aws
from sd3.adapters.sqs import SqsJobQueue
from tests.integration.conftest import ENVIRONMENT
from tests.support.fakes.changing_jobs import job

URL, ASIDE = ENVIRONMENT["QUEUE_URL"], ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"]


def groups(aws: Aws, url: str) -> list[str | None]:
    reply: Any = aws.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["MessageGroupId"]
    )
    found = (one.get("Attributes", {}).get("MessageGroupId") for one in reply["Messages"])
    return sorted(found, key=str)


def test_the_messages_of_a_client_are_a_group(aws: Aws) -> None:
    queue = SqsJobQueue(lambda: aws.sqs, URL, unprocessable_url=ASIDE)
    queue.send(job("one"))
    queue.send_all([(job("two"), 0), (job("three", client_id="bob"), 0)])
    assert groups(aws, URL) == ["ann", "ann", "bob"]


def test_a_message_that_names_no_job_is_nobodys(aws: Aws) -> None:
    SqsJobQueue(lambda: aws.sqs, URL, unprocessable_url=ASIDE).send_unprocessable("{}")
    assert groups(aws, ASIDE) == [None]
