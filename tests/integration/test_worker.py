"""The worker on moto: every message of the queue ends with its job ended, or comes again."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from functions.worker import app
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.sqs import SqsJobQueue
from sd3.domain.job import JobStatus
from sd3.errors import Sd3Error, StorageError, UpstreamFailedError, UpstreamUnavailableError
from sd3.services.worker import Worker
from tests.integration.conftest import ENVIRONMENT, Functions, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import FakeUpstream

QUEUE, ASIDE = ENVIRONMENT["QUEUE_URL"], ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"]
DONE: dict[str, Any] = {"batchItemFailures": []}

Receive = Callable[[], dict[str, Any]]


@pytest.fixture
def received(aws: Aws) -> Receive:
    """Make the event of the queue's next message, like the sample."""

    def receive() -> dict[str, Any]:
        event = load_event("worker")
        [message] = aws.sqs.receive_message(QueueUrl=QUEUE, AttributeNames=["All"])["Messages"]
        attributes = message["Attributes"]
        event["Records"][0] |= {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:jobs",
            "attributes": {name: attributes[name] for name in event["Records"][0]["attributes"]},
        }
        return event

    return receive


def work(event: dict[str, Any]) -> dict[str, Any]:
    return dict(app.handler(event, lambda_context()))


def left(event: dict[str, Any]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}


def queued(functions: Functions) -> str:
    """Store a new queued job and return its id."""
    event = load_event("generate")
    event["headers"]["Prefer"] = "respond-async"
    response = functions.generate(event)
    assert response["statusCode"] == 202
    return str(response["json"]["id"])


def job(functions: Functions) -> dict[str, Any]:
    response = functions.jobs(load_event("job"))["json"]
    assert isinstance(response, dict)
    return response


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the seconds for which messages were made invisible."""
    seconds: list[int] = []
    set_visibility = SqsJobQueue.set_visibility

    def noted(
        queue: SqsJobQueue,
        handle: str,
        *,
        seconds: int,
        queue_arn: str,
        stored: list[int] = seconds,
    ) -> None:
        stored.append(seconds)
        set_visibility(queue, handle, seconds=seconds, queue_arn=queue_arn)

    monkeypatch.setattr(SqsJobQueue, "set_visibility", noted)
    return seconds


def test_a_queued_job_is_generated(
    functions: Functions, received: Receive, upstream: FakeUpstream
) -> None:
    queued(functions)
    assert work(received()) == DONE
    assert job(functions)["status"] == JobStatus.SUCCEEDED
    assert len(upstream.calls) == 1


def test_a_redelivered_message_generates_nothing(
    functions: Functions, received: Receive, upstream: FakeUpstream
) -> None:
    queued(functions)
    event = received()
    assert [work(event), work(event)] == [DONE, DONE]
    assert len(upstream.calls) == 1


def test_a_throttled_upstream_leaves_the_message(
    functions: Functions, received: Receive, upstream: FakeUpstream, waits: list[int]
) -> None:
    queued(functions)
    upstream.errors = [UpstreamUnavailableError("busy", retry_after=30)] * 3
    event = received()
    assert work(event) == left(event)
    # It may come back shortly before the pause ends, and then waits for its slot.
    assert [25 < wait <= 46 for wait in waits] == [True]
    assert job(functions)["status"] == JobStatus.QUEUED


def test_a_fifth_failure_ends_the_job(
    functions: Functions,
    received: Receive,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    minutes = count()  # each attempt comes after the wait that the one before has asked for
    clock = bootstrap.clock()
    later = clock._replace(now=lambda: clock.now() + timedelta(minutes=next(minutes)))
    monkeypatch.setattr(bootstrap, "clock", lambda: later)
    queued(functions)
    upstream.errors = [UpstreamFailedError("broke")] * 5
    event = received()
    assert [work(event) for _ in range(5)] == [left(event)] * 4 + [DONE]
    assert job(functions)["error"]["code"] == "upstream_error"


@pytest.mark.parametrize("body", ["", "not JSON", "[]", '{"job_id": 7}', '{"job_id": "a b"}'])
def test_a_message_that_names_no_job_is_set_aside(
    aws: Aws, functions: Functions, body: str
) -> None:
    event = load_event("worker")
    event["Records"][0]["body"] = body or " "
    assert work(event) == DONE
    [message] = aws.sqs.receive_message(QueueUrl=ASIDE)["Messages"]
    assert message["Body"] == (body or " ")


def test_a_message_that_cannot_be_set_aside_comes_again_soon(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, received: Receive, waits: list[int]
) -> None:
    queued(functions)
    event = received()
    event["Records"][0]["body"] = "not JSON"
    monkeypatch.setattr(SqsJobQueue, "send_unprocessable", raising(StorageError("no queue")))
    assert work(event) == left(event)
    assert waits == [60]


def test_a_message_without_a_job_is_dropped_after_a_minute(functions: Functions) -> None:
    event = load_event("worker")
    event["Records"][0]["attributes"]["SentTimestamp"] = "1700000000000"
    assert work(event) == DONE


def test_a_message_before_its_job_comes_again(
    aws: Aws, functions: Functions, received: Receive
) -> None:
    aws.sqs.send_message(QueueUrl=QUEUE, MessageBody=json.dumps({"job_id": "soon"}))
    event = received()
    assert work(event) == left(event)


@pytest.mark.parametrize("leaving", [None, StorageError("no queue")])
def test_a_store_that_fails_leaves_the_message(
    functions: Functions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    leaving: Sd3Error | None,
) -> None:
    seconds: list[int] = []

    def set_visibility(
        _queue: SqsJobQueue,
        _handle: str,
        *,
        seconds: int,
        queue_arn: str,
        stored: list[int] = seconds,
    ) -> None:
        stored.append(seconds)
        if leaving:
            raise leaving

    monkeypatch.setattr(SqsJobQueue, "set_visibility", set_visibility)
    monkeypatch.setattr(Worker, "process", raising(StorageError("no table")))
    event = load_event("worker")
    assert work(event) == left(event)
    assert seconds == [60]
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["message"], line["code"]) == ("record failed", "internal_error")
    assert line["correlation_id"] == event["Records"][0]["messageId"]
    assert line["job_id"] == json.loads(event["Records"][0]["body"])["job_id"]


def test_a_bug_is_lambdas_to_count_and_its_message_comes_soon(
    functions: Functions, received: Receive, monkeypatch: pytest.MonkeyPatch, waits: list[int]
) -> None:
    queued(functions)
    monkeypatch.setattr(Worker, "process", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        work(received())
    assert waits == [60]


def raising(error: Exception) -> Callable[..., None]:
    def raises(*_arguments: Any, **_named: Any) -> None:
        raise error

    return raises
