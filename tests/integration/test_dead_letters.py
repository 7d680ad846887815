"""What the queue has given up, on moto: its job ends, with the reason."""

from typing import Any

import pytest

from functions.dead_letters import app
from sd3.adapters.aws import Aws
from sd3.errors import StorageError
from sd3.services.worker import Worker
from tests.integration.conftest import ENVIRONMENT, Functions, load_event

DONE: dict[str, Any] = {"batchItemFailures": []}


def test_a_job_whose_workers_died_fails_with_the_reason(functions: Functions) -> None:
    event = load_event("generate")
    event["headers"]["Prefer"] = "respond-async"
    assert functions.generate(event)["statusCode"] == 202
    assert app.handler(load_event("dead_letters"), None) == DONE
    job = functions.jobs(load_event("job"))["json"]
    assert (job["status"], job["error"]["code"]) == ("failed", "internal_error")
    assert "workers died" in job["error"]["message"]


def test_a_job_that_has_ended_stays_as_it_is(functions: Functions) -> None:
    assert functions.generate(load_event("generate"))["statusCode"] == 200
    assert app.handler(load_event("dead_letters"), None) == DONE
    assert functions.jobs(load_event("job"))["json"]["status"] == "succeeded"


def test_a_letter_without_a_job_is_done(functions: Functions) -> None:
    assert app.handler(load_event("dead_letters"), None) == DONE


def test_a_letter_that_names_no_job_is_set_aside(aws: Aws, functions: Functions) -> None:
    event = load_event("dead_letters")
    event["Records"][0]["body"] = "not JSON"
    assert app.handler(event, None) == DONE
    messages = aws.sqs.receive_message(QueueUrl=ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"])["Messages"]
    assert [message["Body"] for message in messages] == ["not JSON"]


def test_only_the_letter_that_failed_comes_again(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = load_event("dead_letters")
    [record] = event["Records"]
    event["Records"].append(record | {"messageId": "fine", "body": '{"job_id": "fine"}'})

    def end(_worker: Worker, job_id: str, _error: Exception) -> None:
        if job_id != "fine":
            raise StorageError("no table")

    monkeypatch.setattr(Worker, "give_up", end)
    left = [{"itemIdentifier": record["messageId"]}]
    assert app.handler(event, None) == {"batchItemFailures": left}
