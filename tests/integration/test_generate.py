"""POST /generate/sd3: the function on moto."""

import base64
import gzip
import hashlib
import importlib
import json
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.generate import app as generate_app
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.errors import (
    ContentPolicyError,
    Sd3Error,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from tests.integration.conftest import Functions, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import FakeUpstream, sample_image

REQUEST_ID = load_event("generate")["requestContext"]["extendedRequestId"]
JOB_ID = REQUEST_ID.rstrip("=")


def stored_keys(aws: Aws) -> list[str]:
    return [o["Key"] for o in aws.s3.list_objects_v2(Bucket="images").get("Contents", [])]


def job_items(aws: Aws) -> list[dict[str, Any]]:
    return [dict(item) for item in aws.dynamodb.scan(TableName="jobs")["Items"]]


@pytest.mark.parametrize(
    ("error", "seconds", "count"),
    [(UpstreamTimeoutError("slow"), 1, 1), (None, 29, 1), (None, 28, 0)],
    ids=["our 504", "the gateway's 504", "in time"],
)
def test_a_response_that_the_job_outlives_is_counted(
    functions: Functions,
    upstream: FakeUpstream,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Sd3Error | None,
    seconds: int,
    count: int,
) -> None:
    monkeypatch.setattr(generate_app, "monotonic", iter((100.0, 100.0 + seconds)).__next__)
    upstream.errors = [error] if error else []
    functions.generate(load_event("generate"))
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [(each["client_id"], each["job_id"]) for each in written if "StillRunning" in each]
    assert counted == [("demo", JOB_ID)] * count


@pytest.mark.parametrize("event", [{"source": "warm-up"}, {"requestContext": {}}, None])
def test_a_late_response_to_an_event_without_a_client_is_a_response(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, event: Any
) -> None:
    monkeypatch.setattr(generate_app, "monotonic", iter((100.0, 130.0)).__next__)
    assert generate_app.handler(event, lambda_context())["statusCode"] == 404


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b'\xef\xbb\xbf{"prompt": "a fox", "seed": 7.0}'), "gzip", 200),
        (zlib.compress(b'{"prompt": "a fox", "seed": 7}'), "deflate", 200),
        (gzip.compress(bytes(7_000_000)), "gzip", 413),
        (gzip.compress(b'{"prompt": "a fox"}')[:-3], "gzip", 400),
        (b'{"prompt": "a fox"}', "zstd", 415),
    ],
)
def test_a_compressed_body_is_read_where_the_gateway_hands_it_on(
    functions: Functions, body: bytes, encoding: str, status: int
) -> None:
    event = load_event("generate")
    event["headers"]["Content-Encoding"] = encoding
    event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    response = functions.generate(event)
    assert response["statusCode"] == status
    if status == 200:
        assert [image["seed"] for image in response["json"]["images"]] == [7]
    else:
        assert response["json"]["code"] in {"too_large", "invalid_json", "unsupported_media_type"}


def test_the_sample_request_is_generated_stored_and_returned(
    functions: Functions, aws: Aws
) -> None:
    response = functions.generate(load_event("generate"))
    assert response["statusCode"] == 200
    job = response["json"]
    assert job["id"] == JOB_ID
    assert job["status"] == "succeeded"
    assert job["cost_usd"] == 0.03
    assert (job["upstream"], job["ignored"]) == ("fake", [])
    (image,) = job["images"]
    data = sample_image().data
    assert image == {
        "index": 0,
        "image_b64": None,
        "url": image["url"],
        "expires_at": image["expires_at"],
        "seed": 4275432097,
        "removed_for_safety": False,
        "safety_score": None,
        "width": 1024,
        "height": 1024,
        "content_type": "image/jpeg",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "provenance": None,
        "c2pa": None,
        "thumbhash": None,
        "upstream": "fake",
        "error": None,
    }
    key = f"demo/{JOB_ID}/0.jpg"
    assert image["url"].startswith(f"https://images.s3.eu-central-1.amazonaws.com/{key}?")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in image["url"]
    stored = aws.s3.get_object(Bucket="images", Key=key)
    assert stored["Body"].read() == data
    assert stored["ContentType"] == "image/jpeg"


def test_sixteen_images_are_all_stored_in_order(functions: Functions, aws: Aws) -> None:
    response = functions.generate(load_event("generate", num_images=16, steps=7, seed=1))
    assert [image["seed"] for image in response["json"]["images"]] == list(range(1, 17))
    assert len(stored_keys(aws)) == 16
    for index, stored in enumerate(response["json"]["images"]):
        assert stored["sha256"] == hashlib.sha256(sample_image(index).data).hexdigest()


def test_neither_links_nor_images_are_stored_in_the_table(functions: Functions, aws: Aws) -> None:
    functions.generate(load_event("generate", response_format="b64_json"))
    text = json.dumps(job_items(aws))
    assert "X-Amz-Signature" not in text
    assert base64.b64encode(sample_image().data).decode()[:100] not in text


def test_b64_json_returns_the_images_themselves_too(functions: Functions) -> None:
    response = functions.generate(load_event("generate", response_format="b64_json"))
    (image,) = response["json"]["images"]
    assert base64.b64decode(image["image_b64"]) == sample_image().data
    assert image["url"]


@pytest.mark.parametrize(
    ("header", "sdk"),
    [
        ("X-Fern-SDK-Name", "octoai"),
        ("x-fern-sdk-name", "@octoai/sdk"),
        ("User-Agent", "octoai-0.10.1"),
        ("User-Agent", "octoai-ts-0.5.2"),
    ],
)
def test_octoais_own_clients_get_the_images_that_they_read(
    functions: Functions, header: str, sdk: str
) -> None:
    event = load_event("generate")
    event["headers"][header] = sdk
    assert functions.generate(event)["json"]["images"][0]["image_b64"]
    event["body"] = '{"prompt": "a fox", "response_format": "url"}'
    event["requestContext"]["extendedRequestId"] = "second"
    assert functions.generate(event)["json"]["images"][0]["image_b64"] is None


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (ContentPolicyError("no"), 400, "content_policy", None),
        (UpstreamRefusedError("key"), 502, "upstream_error", None),
        (UpstreamResponseError("cut off"), 502, "upstream_error", None),
        (UpstreamUnavailableError("busy", retry_after=7.2), 503, "upstream_unavailable", "8"),
        (UpstreamUnavailableError("down"), 503, "upstream_unavailable", "5"),
    ],
)
def test_an_upstreams_failure_returns_its_code_and_job(
    functions: Functions,
    upstream: FakeUpstream,
    error: Sd3Error,
    status: int,
    code: str,
    retry_after: str | None,
) -> None:
    upstream.errors = [error] * 3
    response = functions.generate(load_event("generate"))
    assert response["statusCode"] == status
    assert response["json"] == {
        "code": code,
        "message": error.message,
        "request_id": REQUEST_ID,
        "job_id": JOB_ID,
    }
    assert response["headers"].get("Retry-After") == retry_after


def test_an_upstream_that_always_fails_is_not_called_and_the_error_is_immediate(
    functions: Functions, upstream: FakeUpstream
) -> None:
    upstream.errors = [UpstreamFailedError("500")] * 9

    def ask(number: int) -> dict[str, Any]:
        event = load_event("generate")
        event["requestContext"]["extendedRequestId"] = f"job-{number}"
        return functions.generate(event)

    # The first failure may be an exception.
    assert [ask(number)["statusCode"] for number in range(6)] == [502] * 6
    rejected = ask(6)
    assert (rejected["statusCode"], rejected["json"]["code"]) == (503, "upstream_unavailable")
    assert 1 <= int(rejected["headers"]["Retry-After"]) <= 5
    assert len(upstream.calls) == 6


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "invalid_json"),
        (None, 400, "invalid_json"),
        ("{", 400, "invalid_json"),
        ('{"prompt": "x", "cfg_scale": NaN}', 400, "invalid_json"),
        ("[]", 422, "validation_error"),
        ("{}", 422, "validation_error"),
        ('{"prompt": "x", "width": 512, "height": 512}', 422, "validation_error"),
        ('{"prompt": "' + "x" * (6 * 1024 * 1024) + '"}', 413, "too_large"),
    ],
)
def test_an_invalid_body_returns_its_error_code_and_changes_nothing(
    functions: Functions, aws: Aws, body: str | None, status: int, code: str
) -> None:
    response = functions.generate(load_event("generate") | {"body": body})
    assert response["statusCode"] == status
    assert response["json"]["code"] == code
    assert response["json"]["request_id"] == REQUEST_ID
    assert "job_id" not in response["json"]
    assert ("detail" in response["json"]) == (status == 422)
    assert not job_items(aws)
    assert not stored_keys(aws)


def test_a_422_names_every_wrong_field(functions: Functions) -> None:
    event = load_event("generate", prompt="", seed=0, num_images=17, nonsense=1, loras={"a": 1})
    detail = functions.generate(event)["json"]["detail"]
    assert {".".join(map(str, field_error["loc"])) for field_error in detail} == {
        "body.prompt",
        "body.seed",
        "body.num_images",
        "body.nonsense",
        "body.loras",
    }
    assert all(set(field_error) == {"loc", "msg", "type"} for field_error in detail)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        (None, 200),
        ("text/plain", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_only_json_is_taken(functions: Functions, content_type: str | None, status: int) -> None:
    event = load_event("generate")
    event["headers"].pop("Content-Type")
    if content_type:
        event["headers"]["content-type"] = content_type
    response = functions.generate(event)
    assert response["statusCode"] == status
    if status == 415:
        assert response["json"]["code"] == "unsupported_media_type"


def test_a_body_in_base64_is_read(functions: Functions) -> None:
    event = load_event("generate")
    event |= {
        "body": base64.b64encode(event["body"].encode()).decode(),
        "isBase64Encoded": True,
    }
    assert functions.generate(event)["statusCode"] == 200
    assert functions.generate(event | {"body": "%"})["json"]["code"] == "invalid_json"


def test_the_same_gateway_request_is_never_generated_twice(
    functions: Functions, upstream: FakeUpstream
) -> None:
    functions.generate(load_event("generate"))
    again = functions.generate(load_event("generate"))
    assert again["json"]["id"] == JOB_ID
    assert len(upstream.calls) == 1


def test_a_slow_upstream_leaves_the_job_to_the_queue(
    functions: Functions, upstream: FakeUpstream
) -> None:
    upstream.errors = [UpstreamTimeoutError("slow")]
    response = functions.generate(load_event("generate"))
    assert (response["statusCode"], response["json"]["code"]) == (504, "still_running")
    job = functions.jobs(load_event("job"))["json"]
    assert (job["id"], job["status"], job["cost_usd"]) == (JOB_ID, "queued", 0.03)


@pytest.mark.parametrize("table", ["jobs", "bucket"])
def test_failing_storage_is_an_internal_error_without_a_trace(
    functions: Functions, aws: Aws, table: str
) -> None:
    if table == "jobs":
        aws.dynamodb.delete_table(TableName="jobs")
    else:
        aws.s3.delete_bucket(Bucket="images")
    response = functions.generate(load_event("generate"))
    assert response["statusCode"] == 500
    assert response["json"]["code"] == "internal_error"
    assert "Traceback" not in response["body"]
    assert "NoSuch" not in response["body"]


def test_a_table_that_is_too_busy_is_a_503_with_a_retry_after(
    functions: Functions, aws: Aws, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttle(**arguments: Any) -> None:
        code = "ProvisionedThroughputExceededException"
        raise ClientError({"Error": {"Code": code, "Message": "of AWS"}}, str(arguments))

    client = bootstrap.job_service().jobs._table._client  # type: ignore[attr-defined]
    monkeypatch.setattr(client, "transact_write_items", throttle)
    response = functions.generate(load_event("generate"))
    assert (response["statusCode"], response["json"]["code"]) == (503, "upstream_unavailable")
    assert response["headers"]["Retry-After"] == "5"
    assert not upstream.calls
    assert not job_items(aws)


def test_a_fault_of_our_own_is_an_internal_error_without_a_trace(
    functions: Functions, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.calls = None  # type: ignore[assignment] # makes the fake fail as a bug of ours would
    response = functions.generate(load_event("generate"))
    assert response["statusCode"] == 500
    assert response["json"] == {
        "code": "internal_error",
        "message": "Something went wrong here.",
        "job_id": JOB_ID,
        "request_id": REQUEST_ID,
    }
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    [logged] = [line for line in lines if "level" in line]
    assert (logged["level"], logged["correlation_id"]) == ("ERROR", REQUEST_ID)
    assert logged["exception"].startswith("Traceback")
    assert logged["exception_name"] == "AttributeError"


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://admin.example.com"])
def test_a_page_of_an_allowed_origin_may_read_responses_and_errors(
    functions: Functions, origin: str
) -> None:
    for body in ({}, {"seed": 0}):
        event = load_event("generate", **body)
        event["headers"]["Origin"] = origin
        event["requestContext"]["extendedRequestId"] = f"{origin}{body}"
        headers = functions.generate(event)["headers"]
        assert headers["Access-Control-Allow-Origin"] == origin


def test_a_page_of_another_origin_may_not(functions: Functions) -> None:
    event = load_event("generate")
    event["headers"]["Origin"] = "https://evil.example.com"
    assert "Access-Control-Allow-Origin" not in functions.generate(event)["headers"]


def test_logs_hold_no_prompt_link_or_image(
    functions: Functions, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    functions.generate(load_event("generate", prompt="canary prompt"))
    upstream.errors = [UpstreamResponseError("cut off")]
    second = load_event("generate", prompt="canary prompt")
    second["requestContext"]["extendedRequestId"] = "second"
    functions.generate(second)
    functions.generate(load_event("generate", prompt="canary prompt", seed=0))
    logged = "".join(capsys.readouterr())
    assert "upstream_error" in logged
    assert "canary" not in logged
    assert "X-Amz" not in logged


def test_no_setting_of_powertools_makes_it_log_a_token_or_a_prompt(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    event = load_event("generate", prompt="canary prompt", seed=0)
    event["headers"]["Authorization"] = "Bearer canary"
    functions.generate(event)
    logged = "".join(capsys.readouterr())
    assert "validation_error" in logged
    assert "canary" not in logged


@pytest.mark.parametrize(
    ("variable", "value"),
    [("UPSTREAM", "unknown"), ("UPSTREAM_RATE", "fast"), ("SYNC_IMAGE_STEPS", "many")],
)
def test_a_setting_that_cannot_be_used_is_an_internal_error_that_the_log_explains(
    functions: Functions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "generate")
    monkeypatch.setenv(variable, value)
    importlib.reload(generate_app)  # Lambda's init phase
    event = load_event("generate")
    event["headers"]["Origin"] = "https://app.example.com"
    response = functions.generate(event)
    assert (response["statusCode"], response["json"]["code"]) == (500, "internal_error")
    assert response["headers"]["Access-Control-Allow-Origin"] == "https://app.example.com"
    [line] = map(json.loads, capsys.readouterr().out.splitlines())
    assert f"ValueError: {variable}" in line["exception"]
