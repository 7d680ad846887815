"""What the queue has given up, on moto: its job ends, with the reason."""

import json
from typing import Any

import pytest

from functions.dead_letters import app
from sd3.adapters.aws import Aws
from sd3.errors import StorageError
from sd3.services.worker import Worker
from tests.integration.conftest import ENVIRONMENT, Functions, load_event
from tests.support.factories.lambda_context import lambda_context

DONE: dict[str, Any] = {"batchItemFailures": []}


def test_a_job_whose_workers_died_fails_with_the_reason(functions: Functions) -> None:
    event = load_event("generate")
    event["headers"]["Prefer"] = "respond-async"
    assert functions.generate(event)["statusCode"] == 202
    assert app.handler(load_event("dead_letters"), lambda_context()) == DONE
    job = functions.jobs(load_event("job"))["json"]
    assert (job["status"], job["error"]["code"]) == ("failed", "internal_error")
    assert "workers died" in job["error"]["message"]


def test_a_job_that_has_ended_stays_as_it_is(functions: Functions) -> None:
    assert functions.generate(load_event("generate"))["statusCode"] == 200
    assert app.handler(load_event("dead_letters"), lambda_context()) == DONE
    assert functions.jobs(load_event("job"))["json"]["status"] == "succeeded"


def test_a_letter_without_a_job_is_done(functions: Functions) -> None:
    assert app.handler(load_event("dead_letters"), lambda_context()) == DONE


def test_a_letter_that_names_no_job_is_set_aside(aws: Aws, functions: Functions) -> None:
    event = load_event("dead_letters")
    event["Records"][0]["body"] = "not JSON"
    assert app.handler(event, lambda_context()) == DONE
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
    assert app.handler(event, lambda_context()) == {"batchItemFailures": left}


def test_a_bug_is_lambdas_to_count_and_holds_up_no_other_letter(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = load_event("dead_letters")
    [record] = event["Records"]
    event["Records"] = [record | {"body": json.dumps({"job_id": name})} for name in "abc"]
    ended: list[str] = []

    def end(_worker: Worker, job_id: str, _error: Exception) -> None:
        if job_id != "c":
            raise ZeroDivisionError(job_id)
        ended.append(job_id)

    monkeypatch.setattr(Worker, "give_up", end)
    with pytest.raises(ZeroDivisionError, match="a"):
        app.handler(event, lambda_context())
    assert ended == ["c"]
    assert '"exception_name":"ZeroDivisionError"' in capsys.readouterr().out
