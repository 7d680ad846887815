"""An earlier result answers requests of every entrypoint, on moto."""

import json
from collections.abc import Iterator
from datetime import timedelta
from threading import Event
from time import sleep
from typing import Any, Final

import pytest

from functions.notifications import app as notifications_app
from sd3.adapters.aws import Aws
from sd3.adapters.s3.images import ImageStore
from sd3.domain.job import ImageRecord
from sd3.errors import StorageError
from tests.integration.conftest import ENVIRONMENT, Functions, forget_process, load_event
from tests.integration.test_inbox import dropped, inbox, receive
from tests.integration.test_mcp import tool
from tests.integration.test_openai_images import event_of
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.jobs_stream import JobsStream
from tests.support.fakes.ports import FakeUpstream

ASKED: Final[dict[str, Any]] = {"prompt": "a fox", "negative_prompt": "", "seed": 7}

__all__ = ["inbox"]  # a fixture


@pytest.fixture
def first(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, upstream: FakeUpstream
) -> Iterator[str]:
    """Provide the id of a job of the client acme whose result can be reused."""
    monkeypatch.setenv("REUSE_RESULTS", "seeded")
    forget_process()
    response = functions.generate(event(id="first"))
    assert (response["statusCode"], response["json"]["cost_usd"]) == (200, 0.03)
    yield "first"
    assert len(upstream.calls) == 1
    forget_process()


def event(*, id: str, **headers: str) -> dict[str, Any]:
    made = load_event("generate")
    made["headers"] |= headers
    return of_acme(made | {"body": json.dumps(ASKED)}, id=id)


def of_acme(made: dict[str, Any], *, id: str = "again") -> dict[str, Any]:
    made["requestContext"]["extendedRequestId"] = id
    made["requestContext"]["authorizer"]["client_id"] = "acme"
    return made


def image_of(aws: Aws, job_id: str) -> tuple[str, bytes]:
    found = aws.s3.get_object(Bucket="images", Key=f"acme/{job_id}/0.jpg")
    return found["ContentType"], found["Body"].read()


def test_the_response_has_its_age_and_the_copy_is_the_image(
    functions: Functions, aws: Aws, first: str
) -> None:
    response = functions.generate(
        event(id="again", Prefer="respond-async", Origin="https://app.example.com")
    )
    assert response["statusCode"] == 200
    assert response["headers"]["Age"] in {"0", "1"}
    assert "Age" in response["headers"]["Access-Control-Expose-Headers"]
    job = response["json"]
    assert (job["cost_usd"], job["prediction_time_ms"], job["reused_from"]) == (0, 0, first)
    assert "/acme/again/0.jpg?" in job["images"][0]["url"]
    assert image_of(aws, "again") == image_of(aws, first)


def test_the_end_of_a_copy_is_an_event_and_usage_without_cost(
    functions: Functions, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    functions.generate(event(id="again"))
    functions.changes()
    usage = of_acme(load_event("usage"))
    today = functions.jobs(usage)["json"]["today"]
    assert (today["cost_usd"], today["reserved_usd"], today["pictures"]) == (0.03, 0, 2)
    capsys.readouterr()
    notifications_app.handler({"Records": JobsStream().read()}, lambda_context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = {each["job_id"] for each in lines if "JobsEnded" in each}
    assert ended == {first, "again"}
    assert [each["job_id"] for each in lines if "ImagesReused" in each] == ["again"]
    assert [each["job_id"] for each in lines if "ImagesGenerated" in each] == [first]


def test_openais_api_says_that_images_are_an_earlier_jobs(functions: Functions, first: str) -> None:
    asked = event_of("POST", "/images/generations", json.dumps(ASKED).encode())
    response = functions.generate(of_acme(asked))
    answer = json.loads(response["body"])
    assert (answer["id"], answer["cost_usd"], answer["reused_from"]) == ("again", 0, first)
    assert "Age" in response["headers"]


def test_openais_api_generates_nothing_without_an_earlier_result(
    functions: Functions, first: str
) -> None:
    asked = event_of("POST", "/images/generations", b'{"prompt": "a hen", "seed": 7}')
    asked["headers"] |= {"Cache-Control": "only-if-cached"}
    response = functions.generate(of_acme(asked))
    assert (first, response["statusCode"]) == ("first", 412)
    assert response["headers"]["x-should-retry"] == "false"
    assert json.loads(response["body"])["error"]["code"] == "not_cached"


def test_an_agent_gets_an_earlier_result_at_once(functions: Functions, first: str) -> None:
    response = functions.mcp(of_acme(tool("generate_image", **ASKED)))
    job = json.loads(response["body"])["result"]["content"][1]["text"]
    found = json.loads(job)
    assert (found["id"], found["cost_usd"], found["reused_from"]) == ("again", 0, first)


def test_a_file_of_the_inbox_gets_an_earlier_result(
    functions: Functions, inbox: Aws, first: str
) -> None:
    receive(dropped(inbox, json.dumps(ASKED).encode()))
    [job] = functions.jobs(of_acme(load_event("list_jobs")))["json"]["jobs"][:1]
    assert (job["status"], job["cost_usd"], job["reused_from"]) == ("succeeded", 0, first)
    assert "Messages" not in inbox.sqs.receive_message(QueueUrl=ENVIRONMENT["QUEUE_URL"])


def test_a_request_for_a_deleted_result_is_generated(
    functions: Functions, upstream: FakeUpstream, first: str
) -> None:
    deletion = load_event("delete")
    deletion["pathParameters"]["id"] = first
    assert functions.jobs(of_acme(deletion))["statusCode"] == 204
    only = functions.generate(event(id="again", **{"Cache-Control": "only-if-cached"}))
    assert (only["statusCode"], only["json"]["code"]) == (412, "not_cached")
    assert functions.generate(event(id="again"))["json"]["cost_usd"] == 0.03
    upstream.calls.pop()


@pytest.fixture
def images(aws: Aws) -> ImageStore:
    ttl = timedelta(minutes=1)
    return ImageStore(aws.s3, "images", url_ttl=ttl, credentials_expiry=lambda: None, parallel=2)


def test_the_tags_of_an_image_are_not_copied(aws: Aws, images: ImageStore) -> None:
    """No function may read tags, which a scanner of the account can have added."""
    aws.s3.put_object(Bucket="images", Key="acme/first/0.jpg", Body=b"", Tagging="scan=clean")
    [copied] = images.copy_all("acme/again", [ImageRecord(index=0, seed=7, key="acme/first/0.jpg")])
    assert copied.key
    assert aws.s3.get_object_tagging(Bucket="images", Key=copied.key)["TagSet"] == []


def test_no_copy_is_under_way_when_another_one_has_failed(aws: Aws, images: ImageStore) -> None:
    """It would come over the image that is generated instead."""
    aws.s3.put_object(Bucket="images", Key="acme/first/1.jpg", Body=b"")
    has_failed, done = Event(), []

    def copy(params: dict[str, Any], **_: Any) -> None:
        if params["Key"].endswith("/1.jpg"):
            has_failed.wait(10)
            sleep(0.1)
            done.append(params["Key"])

    aws.s3.meta.events.register("before-parameter-build.s3.CopyObject", copy)
    aws.s3.meta.events.register("after-call.s3.CopyObject", lambda **_: has_failed.set())
    records = [
        ImageRecord(index=index, seed=7, key=f"acme/first/{index}.jpg") for index in range(2)
    ]
    with pytest.raises(StorageError):
        images.copy_all("acme/again", records)
    assert done == ["acme/again/1.jpg"]
