"""POST /generate/sd3 of long work and of repeated calls: the function on moto."""

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import pytest

from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.progress import ProgressStore
from sd3.adapters.s3.images import ImageStore
from sd3.bootstrap import job_service
from sd3.domain.client import RequestContext
from sd3.domain.job import JobStatus
from sd3.domain.progress import Pace
from sd3.domain.request import GenerateRequest
from sd3.errors import UpstreamTimeoutError, UpstreamUnavailableError
from sd3.responses.models import JobResponse
from tests.integration.conftest import Functions, load_event
from tests.support.fakes.ports import NOON, FakeTime, FakeUpstream, sample_image

URL = "https://api.example.com/v1/generate/sd3"
ALL: dict[str, Any] = {"queryStringParameters": None, "multiValueQueryStringParameters": None}


def event(request_id: str = "job-1", *, body: Any = None, **headers: str) -> dict[str, Any]:
    """Return the sample request with other headers (`_` for `-`)."""
    sample = load_event("generate", **(body or {}))
    sample["requestContext"]["extendedRequestId"] = request_id
    sample["headers"] |= {name.replace("_", "-"): text for name, text in headers.items()}
    return sample


def job_event(job_id: str) -> dict[str, Any]:
    return load_event("job") | {"pathParameters": {"id": job_id}}


def messages(aws: Aws) -> list[str]:
    """Return the messages that a worker would receive at once."""
    url = aws.sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
    received = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in received.get("Messages", [])]


def test_a_client_chooses_no_jobs_id(functions: Functions, aws: Aws) -> None:
    first = functions.generate(event("job-1", Prefer="respond-async"))["json"]
    messages(aws)
    chosen = event("job-2", Prefer="respond-async", X_Amzn_RequestId="job-1")
    chosen["requestContext"]["requestId"] = "job-1"
    assert functions.generate(chosen)["json"]["id"] == "job-2"
    assert messages(aws) == ['{"job_id":"job-2"}']
    assert functions.jobs(job_event("job-1"))["json"] == first


def test_an_event_with_the_id_of_another_clients_job_sends_no_message(
    functions: Functions, aws: Aws
) -> None:
    functions.generate(event("job-1", Prefer="respond-async"))
    messages(aws)
    other = event("job-1", Prefer="respond-async")
    other["requestContext"]["authorizer"]["client_id"] = "other"
    refused = functions.generate(other)
    assert (refused["statusCode"], refused["json"]["code"]) == (409, "idempotency_mismatch")
    assert "job_id" not in refused["json"]
    assert not messages(aws)


def test_respond_async_returns_the_queued_job_and_its_address(
    functions: Functions, aws: Aws, upstream: FakeUpstream
) -> None:
    response = functions.generate(event(Prefer="respond-async"))
    assert (response["statusCode"], response["json"]["status"]) == (202, "queued")
    assert response["json"]["images"] == []
    headers = response["headers"]
    assert urljoin(URL, headers["Location"]) == "https://api.example.com/v1/jobs/job-1"
    assert (headers["Retry-After"], headers["Preference-Applied"]) == ("2", "respond-async")
    assert messages(aws) == ['{"job_id":"job-1"}']
    assert functions.jobs(job_event("job-1"))["json"] == response["json"]
    assert not upstream.calls


def test_a_job_that_waits_tells_its_place_and_retry_after_grows_with_its_time(
    functions: Functions, aws: Aws
) -> None:
    progress = ProgressStore(aws.dynamodb, "jobs")
    answers = []
    for number in range(4):
        answers.append(functions.generate(event(f"job-{number}", Prefer="respond-async")))
        progress.note_pace("single", Pace(3.5, 7), now=datetime.now(UTC))
    assert [each["json"]["queue_position"] for each in answers] == [0, 1, 2, 3]
    assert [each["json"]["eta_seconds"] for each in answers] == [None, 10.5, 17.5, 24.5]
    assert [each["headers"]["Retry-After"] for each in answers] == ["2", "11", "15", "15"]
    read = functions.jobs(job_event("job-1"))
    assert (read["json"], read["headers"]["Retry-After"]) == (answers[1]["json"], "11")
    listed = functions.jobs(load_event("list_jobs") | ALL)["json"]["jobs"]
    assert {each["queue_position"] for each in listed} == {None}
    canceled = load_event("job") | {"httpMethod": "POST", "resource": "/jobs/{id}/cancel"}
    functions.jobs(canceled | {"pathParameters": {"id": "job-0"}})
    assert functions.jobs(job_event("job-1"))["json"]["queue_position"] == 0
    assert functions.jobs(job_event("job-0"))["json"]["queue_position"] is None


def test_a_time_to_begin_is_told_and_one_that_cannot_be_is_a_422(
    functions: Functions, aws: Aws
) -> None:
    for wrong in ("0", "soon", "25h", ""):
        response = functions.generate(event(Cancel_After=wrong, body={"dry_run": True}))
        assert (response["statusCode"], response["json"]["code"]) == (422, "validation_error")
        assert response["json"]["detail"][0]["loc"] == ["header", "Cancel-After"]
    assert aws.dynamodb.scan(TableName="jobs")["Count"] == 0
    queued = functions.generate(event(Cancel_After="1m", Prefer="respond-async"))["json"]
    begins, made = queued["cancel_at"], queued["created_at"]
    assert datetime.fromisoformat(begins) - datetime.fromisoformat(made) == timedelta(minutes=1)


@pytest.mark.parametrize(
    "values",
    [["wait=5, respond-async"], ["wait=5", "Respond-Async"], ['x="a,b"; y, respond-async']],
)
def test_the_preference_is_found_among_others(functions: Functions, values: list[str]) -> None:
    sample = event(Prefer=values[-1])
    sample["multiValueHeaders"]["Prefer"] = values
    assert functions.generate(sample)["statusCode"] == 202


def test_a_long_job_is_queued_without_a_preference(functions: Functions) -> None:
    response = functions.generate(event(body={"num_images": 16}))
    assert response["statusCode"] == 202
    assert "Preference-Applied" not in response["headers"]


def test_other_preferences_change_nothing(functions: Functions, aws: Aws) -> None:
    response = functions.generate(event(Prefer='wait=0, return=minimal, note="respond-async"'))
    assert response["statusCode"] == 200
    assert messages(aws) == []  # the one that waits for the death of the function is delayed


def test_a_repeated_call_is_the_same_job_whether_it_runs_or_has_ended(
    functions: Functions, upstream: FakeUpstream
) -> None:
    generated = functions.generate(event("job-1", Idempotency_Key="a"))
    again = functions.generate(event("job-2", Idempotency_Key="a"))
    assert (generated["statusCode"], again["statusCode"]) == (200, 200)
    assert again["json"]["id"] == "job-1"
    assert again["json"]["images"][0]["sha256"] == generated["json"]["images"][0]["sha256"]
    queued = functions.generate(event("job-3", Idempotency_Key="b", Prefer="respond-async"))
    waits = functions.generate(event("job-4", Idempotency_Key="b"))
    assert (queued["statusCode"], waits["statusCode"]) == (202, 202)
    assert waits["json"] == queued["json"]
    assert waits["headers"]["Location"] == "../jobs/job-3"
    assert len(upstream.calls) == 1


def test_a_key_with_another_request_is_a_409(functions: Functions) -> None:
    functions.generate(event("job-1", Idempotency_Key="a"))
    response = functions.generate(event("job-2", Idempotency_Key="a", body={"steps": 31}))
    assert (response["statusCode"], response["json"]["code"]) == (409, "idempotency_mismatch")
    assert functions.jobs(job_event("job-2"))["statusCode"] == 404


def test_a_key_that_cannot_be_is_a_422(functions: Functions, aws: Aws) -> None:
    for key in ("", "x" * 256, "a\tb", "\x00", "schlüssel"):
        response = functions.generate(event(Idempotency_Key=key))
        assert response["statusCode"] == 422
        assert response["json"]["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert aws.dynamodb.scan(TableName="jobs")["Count"] == 0
    assert functions.generate(event(Idempotency_Key="x" * 255))["statusCode"] == 200


def test_of_many_calls_with_one_key_at_once_one_generates(
    functions: Functions, upstream: FakeUpstream
) -> None:
    # Not through the handler: Lambda gives a process one request at a time, and Powertools'
    # resolver stores it in a class.
    def generate(number: int) -> JobResponse:
        context = RequestContext("demo", f"job-{number}", seconds=60, idempotency_key="a")
        return job_service().generate(GenerateRequest(prompt="a fox"), context)

    with ThreadPoolExecutor(5) as threads:
        jobs = list(threads.map(generate, range(10)))
    assert {response.status for response in jobs} <= {
        JobStatus.QUEUED,
        JobStatus.RUNNING,
        JobStatus.SUCCEEDED,
    }
    assert len({response.id for response in jobs}) == 1
    assert len(upstream.calls) == 1


def test_a_busy_upstreams_key_may_be_tried_again(
    functions: Functions, upstream: FakeUpstream
) -> None:
    upstream.errors = [UpstreamUnavailableError("busy")] * 3
    failed = functions.generate(event("job-1", Idempotency_Key="a"))
    assert (failed["statusCode"], failed["json"]["job_id"]) == (503, "job-1")
    again = functions.generate(event("job-2", Idempotency_Key="a"))
    assert (again["statusCode"], again["json"]["id"]) == (200, "job-2")


def test_a_slow_upstream_is_a_504_and_its_key_finds_the_job_that_goes_on(
    functions: Functions, aws: Aws, upstream: FakeUpstream
) -> None:
    upstream.errors = [UpstreamTimeoutError("slow")]
    response = functions.generate(event("job-1", Idempotency_Key="a"))
    assert (response["statusCode"], response["json"]["code"]) == (504, "still_running")
    assert response["json"]["job_id"] == "job-1"
    assert response["headers"]["Retry-After"] == "5"
    assert messages(aws) == ['{"job_id":"job-1"}']
    again = functions.generate(event("job-2", Idempotency_Key="a"))
    assert (again["statusCode"], again["json"]["id"]) == (202, "job-1")
    assert (again["json"]["status"], again["json"]["cost_usd"]) == ("queued", 0.03)


SDKS = pytest.mark.parametrize("sdk", ["octoai", "@octoai/sdk"])


def sleeping(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], Any]) -> FakeTime:
    """Let a clock stand at the events' time, which only sleeping moves."""
    time = FakeTime()

    def advance(seconds: float) -> None:
        time.advance(seconds)
        sleep(time.slept)

    monkeypatch.setattr(bootstrap, "clock", lambda: time.time()._replace(sleep=advance))
    return time


@SDKS
def test_an_octoai_sdk_gets_the_images_of_a_long_job(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, upstream: FakeUpstream, sdk: str
) -> None:
    sleeping(
        monkeypatch,
        lambda _: bootstrap.worker().process("job-1", seconds=300, sent_at=NOON, receives=1),
    )
    response = functions.generate(event(body={"num_images": 8}, X_Fern_SDK_Name=sdk))
    assert response["statusCode"] == 200
    images = response["json"]["images"]
    assert [image["index"] for image in images] == list(range(8))
    for image in images:
        data = base64.b64decode(image["image_b64"])
        assert hashlib.sha256(data).hexdigest() == image["sha256"]
    assert len(upstream.calls) == 1


@SDKS
def test_an_octoai_sdk_gets_an_error_that_names_the_job_before_the_gateway_cuts_it_off(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, aws: Aws, sdk: str
) -> None:
    time = sleeping(monkeypatch, lambda _: None)
    late = event("job-1", body={"num_images": 8}, X_Fern_SDK_Name=sdk)
    late["requestContext"]["requestTimeEpoch"] -= 3000  # the authorizer and a cold start
    response = functions.generate(late)
    assert (response["statusCode"], response["json"]["code"]) == (504, "still_running")
    assert response["json"]["job_id"] == "job-1"
    assert response["headers"]["Retry-After"] == "5"
    assert time.slept == 26 - 3
    again = functions.generate(event("job-2", body={"num_images": 8}, X_Fern_SDK_Name=sdk))
    assert again["json"]["job_id"] == "job-1"
    assert messages(aws) == ['{"job_id":"job-1"}']


@pytest.mark.parametrize("early", [True, False], ids=["a clock ahead", "a clock behind"])
def test_a_gateway_whose_clock_is_wrong_holds_nobody_too_long(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    time = sleeping(monkeypatch, lambda _: None)
    call = event(body={"num_images": 8}, X_Fern_SDK_Name="octoai")
    call["requestContext"]["requestTimeEpoch"] += 3_600_000 * (1 if early else -1)
    assert functions.generate(call)["statusCode"] == 504
    assert 20 <= time.slept <= 26


def test_an_octoai_sdk_that_asks_for_it_gets_a_202_and_polls_for_its_images(
    functions: Functions,
) -> None:
    response = functions.generate(event(Prefer="respond-async", X_Fern_SDK_Name="octoai"))
    assert (response["statusCode"], response["json"]["status"]) == (202, "queued")
    bootstrap.worker().process("job-1", seconds=300, sent_at=NOON, receives=1)
    [image] = functions.jobs(job_event("job-1"))["json"]["images"]
    assert base64.b64decode(image["image_b64"]) == sample_image().data


def test_another_client_is_told_of_the_queue_at_once(functions: Functions) -> None:
    response = functions.generate(event(body={"num_images": 8}, X_Fern_SDK_Name="acme"))
    assert response["statusCode"] == 202


def test_a_repeated_call_and_a_read_job_have_the_images_that_were_asked_for(
    functions: Functions, aws: Aws
) -> None:
    body = {"response_format": "b64_json", "num_images": 2}
    generated = functions.generate(event("job-1", body=body, Idempotency_Key="a"))
    again = functions.generate(event("job-2", body=body, Idempotency_Key="a"))
    read = functions.jobs(job_event("job-1"))
    for response in (generated, again, read):
        images = response["json"]["images"]
        decoded = [base64.b64decode(image["image_b64"]) for image in images]
        assert [hashlib.sha256(data).hexdigest() for data in decoded] == [
            image["sha256"] for image in images
        ]
    aws.s3.delete_object(Bucket="images", Key="demo/job-1/0.jpg")
    aws.s3.put_object(Bucket="images", Key="demo/job-1/1.jpg", Body=b"of somebody else")
    lost = functions.jobs(job_event("job-1"))["json"]["images"]
    assert [image["image_b64"] for image in lost] == [None, None]
    assert all(image["url"] for image in lost)


def test_a_list_and_a_304_read_no_image(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions.generate(event("job-1", body={"response_format": "b64_json"}))
    tag = functions.jobs(job_event("job-1"))["headers"]["ETag"]
    monkeypatch.delattr(ImageStore, "read_all")
    known = job_event("job-1")
    known["headers"] |= {"If-None-Match": tag}
    assert functions.jobs(known)["statusCode"] == 304
    listing = load_event("list_jobs") | {
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
    }
    [job] = functions.jobs(listing)["json"]["jobs"]
    assert job["images"][0]["image_b64"] is None
