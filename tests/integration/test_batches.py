"""The life of a batch on moto: steps that are told twice, functions that die, jobs that change."""

import json
from typing import Any, Final

import pytest

from functions.batch_lines import app as steps_app
from functions.notifications import app as notifications_app
from functions.worker import app as worker_app
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.batches import BatchStore
from sd3.domain.batch import MAX_OPEN, job_id_of
from sd3.services.batch_ends import BatchEnds
from sd3.services.submission import JobSubmission
from tests.integration.conftest import ENVIRONMENT, Functions, lambda_context, load_event
from tests.support.fakes.jobs_stream import JobsStream
from tests.support.fakes.ports import FakeUpstream

STEPS: Final = ENVIRONMENT["BATCH_QUEUE_URL"]
JOBS: Final = ENVIRONMENT["QUEUE_URL"]
FOX: Final = {"custom_id": "fox", "prompt": "a fox", "steps": 1}
OWL: Final = {"custom_id": "owl", "prompt": "an owl", "steps": 1}
WRONG: Final = {"custom_id": "wrong", "prompt": "", "steps": 1}


class World:
    """The functions of batches, and what happens between them, one step at a time."""

    def __init__(self, aws: Aws, functions: Functions) -> None:
        self._aws, self._functions = aws, functions
        self._stream = JobsStream()
        self.events: list[dict[str, Any]] = []
        self._left: list[dict[str, Any]] = []
        """Messages that come again, since their function died or asked for it."""

    def call(self, method: str, path: str, **changes: Any) -> dict[str, Any]:
        event = load_event("batches") | {"httpMethod": method, "resource": path, **changes}
        response: dict[str, Any] = self._functions.batches(event)
        return response

    def send(self, *lines: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        body = json.dumps({"requests": lines})
        response = self.call("POST", "/batches", headers=headers, multiValueHeaders={}, body=body)
        sent: dict[str, Any] = response["json"]
        return response | sent

    def get(self, batch_id: str) -> dict[str, Any]:
        response = self.call("GET", "/batches/{id}", pathParameters={"id": batch_id}, body=None)
        found: dict[str, Any] = response["json"]
        return found

    def cancel(self, batch_id: str) -> dict[str, Any]:
        path = "/batches/{id}/cancel"
        return self.call("POST", path, pathParameters={"id": batch_id}, body=None)

    def results(self, batch_id: str) -> list[dict[str, Any]]:
        path = "/batches/{id}/results"
        found = self.call("GET", path, pathParameters={"id": batch_id}, body=None)
        assert found["statusCode"] == 200, found
        key = f"demo/batches/{batch_id}/results.jsonl"
        data = self._aws.s3.get_object(Bucket="images", Key=key)["Body"].read()
        return [json.loads(line) for line in data.splitlines()]

    def step(self, times: int = 1) -> None:
        """Take the steps that wait, each so many times."""
        records, self._left = [*self._left, *self._received(STEPS, "batch_lines")], []
        for record in records:
            for _ in range(times):
                try:
                    is_done = not self.take(record)["batchItemFailures"]
                except ZeroDivisionError:
                    is_done = False
            if not is_done:
                self._left.append(record)

    def take(self, record: dict[str, Any]) -> dict[str, Any]:
        return dict(steps_app.handler({"Records": [record]}, lambda_context(60)))

    def work(self) -> None:
        """Generate the jobs that wait."""
        for record in self._received(JOBS, "worker"):
            worker_app.handler({"Records": [record]}, lambda_context(300))

    def notify(self, times: int = 1) -> None:
        """Tell of the ends of jobs, so many times."""
        records = self._stream.read()
        for _ in range(times if records else 0):
            notifications_app.handler({"Records": records}, lambda_context(30))

    def run(self, times: int = 1) -> None:
        """Let everything happen, each step so many times."""
        for _ in range(4):
            self.step(times)
            self.work()
            self.notify(times)

    def _received(self, url: str, event: str) -> list[dict[str, Any]]:
        records = []
        while messages := self._aws.sqs.receive_message(
            QueueUrl=url, AttributeNames=["All"], MaxNumberOfMessages=10
        ).get("Messages"):
            for message in messages:
                handle = message["ReceiptHandle"]
                self._aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
                records.append(
                    load_event(event)["Records"][0]
                    | {"body": message["Body"], "attributes": message["Attributes"]}
                )
        return records


@pytest.fixture
def world(aws: Aws, functions: Functions, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(aws, functions)
    client = bootstrap._aws().events
    client.meta.events.register(
        "provide-client-params.events.PutEvents",
        lambda params, **_: world.events.extend(
            json.loads(one["Detail"])
            for one in params["Entries"]
            if one["DetailType"] == "Image Batch Ended"
        ),
    )
    return world


@pytest.mark.parametrize("times", [1, 3])
def test_every_line_has_one_job_one_charge_and_one_result(
    world: World, upstream: FakeUpstream, times: int
) -> None:
    batch = world.send(FOX, WRONG, OWL)
    assert (batch["statusCode"], batch["status"]) == (202, "validating")
    world.run(times)
    ended = world.get(batch["id"])
    assert ended["status"] == "completed"
    assert ended["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    fox, wrong, owl = world.results(batch["id"])
    assert [one["custom_id"] for one in (fox, wrong, owl)] == ["fox", "wrong", "owl"]
    assert (wrong["error"]["code"], wrong["job_id"]) == ("validation_error", None)
    assert fox["images"] == [f"/jobs/{job_id_of(batch['id'], 1)}/images/0"]
    assert sorted(call.prompt for call in upstream.calls) == ["a fox", "an owl"]
    assert ended["cost_usd"] == fox["response"]["cost_usd"] + owl["response"]["cost_usd"]
    [event] = {json.dumps(event) for event in world.events}
    assert json.loads(event)["results"]["key"].endswith(f"{batch['id']}/results.jsonl")


def test_the_same_key_is_the_same_batch_and_another_request_is_refused(world: World) -> None:
    batch = world.send(FOX, key="one")
    assert world.send(FOX, key="one")["id"] == batch["id"]
    assert world.send(OWL, key="one")["code"] == "idempotency_mismatch"
    assert world.send(FOX)["id"] != batch["id"]


def test_a_batch_is_its_clients_alone(world: World) -> None:
    batch = world.send(FOX)
    context = load_event("batches")["requestContext"]
    context["authorizer"] |= {"client_id": "other"}
    for path in ("/batches/{id}", "/batches/{id}/results", "/batches/{id}/cancel"):
        found = world.call(
            "POST" if path.endswith("cancel") else "GET",
            path,
            pathParameters={"id": batch["id"]},
            requestContext=context,
            body=None,
        )
        assert (found["statusCode"], found["json"]["code"]) == (404, "not_found")
    listed = world.call("GET", "/batches", requestContext=context, body=None)
    assert listed["json"] == {"batches": [], "next_cursor": None}
    own = world.call("GET", "/batches", body=None)["json"]["batches"]
    assert [one["id"] for one in own] == [batch["id"]]


@pytest.mark.parametrize("dying", ["submit", "add_parts", "save", "note_made", "refuse"])
def test_what_a_function_leaves_that_dies_is_done_when_its_message_comes_again(
    world: World, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, dying: str
) -> None:
    batch = world.send(FOX, WRONG)
    dies_once(monkeypatch, JobSubmission if dying == "submit" else BatchStore, dying)
    world.run()
    assert world.get(batch["id"])["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert len(world.results(batch["id"])) == 2
    assert len(upstream.calls) == 1


def test_whoever_counts_the_last_end_again_begins_the_results(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function died between its count and its message."""
    batch = world.send(FOX)
    world.step()
    world.step()
    world.work()
    with monkeypatch.context() as patched:
        patched.setattr(BatchEnds, "finish_if_complete", lambda *_: None)
        records = world._stream.read()
        notifications_app.handler({"Records": records}, lambda_context(30))
    world.step()
    assert world.get(batch["id"])["status"] == "in_progress"
    notifications_app.handler({"Records": records}, lambda_context(30))
    world.step()
    assert world.get(batch["id"])["status"] == "completed"


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_canceled_batch_has_a_result_for_each_line_and_pays_nothing(
    world: World, upstream: FakeUpstream, steps: int
) -> None:
    """Before it is split, before its jobs are made, and while they wait."""
    batch = world.send(FOX, OWL)
    for _ in range(steps):
        world.step()
    assert world.cancel(batch["id"])["json"]["status"] == "cancelling"
    for _ in range(4):
        world.step()
        world.notify()
    ended = world.get(batch["id"])
    assert ended["status"] == "canceled"
    assert ended["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert [one["status"] for one in world.results(batch["id"])] == ["canceled", "canceled"]
    world.run()
    assert upstream.calls == []
    assert world.cancel(batch["id"])["json"]["code"] == "not_cancelable"


def test_a_cancel_counts_the_ends_that_nobody_told_of(world: World) -> None:
    """The stream's records were given up, so that the batch would never end by itself."""
    batch = world.send(FOX, OWL)
    world.step()
    world.step()
    world.work()
    world.cancel(batch["id"])
    for _ in range(3):
        world.step()
    assert world.get(batch["id"])["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert [one["status"] for one in world.results(batch["id"])] == ["succeeded", "succeeded"]


def test_a_job_that_was_deleted_is_a_result_too(world: World, functions: Functions) -> None:
    batch = world.send(FOX, OWL)
    world.step()
    world.step()
    world.work()
    job_id = job_id_of(batch["id"], 1)
    bootstrap.job_service().delete(job_id, client_id="demo")
    world.run()
    deleted, owl = world.results(batch["id"])
    assert (deleted["status"], deleted["job_id"], owl["status"]) == ("deleted", job_id, "succeeded")


def test_a_file_that_is_none_of_a_batch_fails_as_a_whole(world: World, aws: Aws) -> None:
    upload = "0753aed38dd16ef96528d89cf0af37ce"
    line = json.dumps(FOX).encode()
    key = f"_uploads/demo/{upload}"
    aws.s3.put_object(Bucket="images", Key=key, Body=line + b"\n" + line)
    body = json.dumps({"upload_id": upload})
    batch = world.call("POST", "/batches", body=body)["json"]
    world.run()
    failed = world.get(batch["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "validation_error")
    assert "Lines 1 and 2" in failed["error"]["message"]
    found = world.call(
        "GET", "/batches/{id}/results", pathParameters={"id": batch["id"]}, body=None
    )
    assert found["statusCode"] == 404
    [event] = world.events
    assert (event["status"], event["results"]) == ("failed", None)


def test_an_upload_that_is_not_there_changes_nothing(world: World) -> None:
    body = json.dumps({"upload_id": "0753aed38dd16ef96528d89cf0af37ce"})
    refused = world.call("POST", "/batches", body=body)
    assert (refused["statusCode"], refused["json"]["detail"][0]["loc"]) == (
        422, ["body", "upload_id"],
    )  # fmt: skip
    assert world.call("GET", "/batches", body=None)["json"]["batches"] == []


def test_one_open_batch_too_many_is_refused(world: World) -> None:
    for _ in range(MAX_OPEN):
        assert world.send(FOX)["statusCode"] == 202
    refused = world.send(FOX)
    assert (refused["statusCode"], refused["code"]) == (429, "rate_limited")
    world.run()
    assert world.send(FOX)["statusCode"] == 202


def test_a_line_over_the_budget_fails_and_the_rate_is_for_the_batch(
    world: World, upstream: FakeUpstream
) -> None:
    context = load_event("batches")["requestContext"]
    limits = {"daily_budget_micros": "1000", "requests_per_minute": "1"}
    context["authorizer"] |= limits
    body = json.dumps({"requests": [FOX, OWL]})
    batch = world.call("POST", "/batches", body=body, requestContext=context)["json"]
    again = world.call("POST", "/batches", body=body, requestContext=context)
    assert again["json"]["code"] == "rate_limited"
    world.run()
    codes = {one["error"] and one["error"]["code"] for one in world.results(batch["id"])}
    assert codes == {None, "budget_exceeded"}
    assert len(upstream.calls) == 1


def test_a_part_that_always_fails_is_given_up_with_an_error_for_each_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = world.send(FOX, OWL)
    world.step()
    monkeypatch.setattr(JobSubmission, "submit", always_failing)
    [record] = world._received(STEPS, "batch_lines")
    with pytest.raises(ZeroDivisionError):
        world.take(record)
    record["attributes"]["ApproximateReceiveCount"] = "21"
    world.take(record)
    world.step()
    assert world.get(batch["id"])["status"] == "completed"
    codes = [one["error"]["code"] for one in world.results(batch["id"])]
    assert codes == ["internal_error", "internal_error"]


def test_a_message_of_no_batch_is_set_aside_or_dropped(world: World, aws: Aws) -> None:
    record = load_event("batch_lines")["Records"][0]
    assert world.take(record) == {"batchItemFailures": []}  # it is older than any batch to come
    world.take(record | {"body": '{"job_id": "x"}'})
    aside = ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"]
    assert aws.sqs.receive_message(QueueUrl=aside)["Messages"][0]["Body"] == '{"job_id": "x"}'


def always_failing(*_: Any) -> None:
    raise ZeroDivisionError


def dies_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Let a method fail after it has done its work, the first time."""
    method, dead = getattr(owner, name), set[str]()

    def dying(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        if not dead:
            dead.add(name)
            raise ZeroDivisionError
        return result

    monkeypatch.setattr(owner, name, dying)
