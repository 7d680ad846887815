"""Uploads on moto: the form's signed policy, and what was sent as a job's init image."""

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from sd3.adapters.aws import Aws
from sd3.adapters.s3.uploads import UploadStore
from sd3.domain.image import MAX_UPLOAD_BYTES
from sd3.errors import NotFoundError, StorageError, TooLargeError
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import flat, png
from tests.support.fakes.ports import FakeUpstream

CLIENT: Final = "demo"
UPLOAD_ID: Final = "0123456789abcdef" * 2


def requested(functions: Functions, **body: Any) -> dict[str, Any]:
    return functions.jobs(load_event("upload", **body))


def policy_of(fields: dict[str, str]) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(base64.b64decode(fields["policy"]))
    return policy


def sent(aws: Aws, data: bytes, upload_id: str = UPLOAD_ID, *, client_id: str = CLIENT) -> str:
    """Put what a form would have sent."""
    aws.s3.put_object(Bucket="images", Key=f"_uploads/{client_id}/{upload_id}", Body=data)
    return upload_id


def from_upload(upload_id: str, **body: Any) -> dict[str, Any]:
    return load_event("generate", init_image_id=upload_id, **body)


def store(aws: Aws, *, expiry: datetime | None = None) -> UploadStore:
    return UploadStore(aws.s3, "images", credentials_expiry=lambda: expiry)


def test_the_sample_event_requests_a_form(functions: Functions) -> None:
    before = datetime.now(UTC)
    result = requested(functions)
    assert result["statusCode"] == 201
    assert result["headers"]["Cache-Control"] == "no-store"
    form = result["json"]
    assert set(form) == {"id", "url", "fields", "expires_at", "max_bytes"}
    assert form["url"] == "https://images.s3.eu-central-1.amazonaws.com/"
    assert form["fields"]["key"] == f"_uploads/demo/{form['id']}"
    assert form["fields"]["Content-Type"] == "image/png"
    assert form["max_bytes"] == 20_000_000
    ends = datetime.fromisoformat(form["expires_at"])
    assert before + timedelta(seconds=899) <= ends <= datetime.now(UTC) + timedelta(minutes=15)
    assert ends <= datetime.fromisoformat(policy_of(form["fields"])["expiration"])


@pytest.mark.parametrize(
    ("content_type", "most"),
    [
        ("image/png", 20_000_000),
        ("image/jpeg", 20_000_000),
        ("image/heic", 20_000_000),
        ("application/jsonl", 50_000_000),
        ("application/x-ndjson", 50_000_000),
    ],
)
def test_the_policy_fixes_bucket_key_type_and_size(
    functions: Functions, content_type: str, most: int
) -> None:
    form = requested(functions, content_type=content_type)["json"]
    fields = form["fields"]
    assert form["max_bytes"] == most
    signed = {"x-amz-algorithm", "x-amz-credential", "x-amz-date"}
    assert set(fields) == {"key", "Content-Type", "policy", "x-amz-signature"} | signed
    conditions = policy_of(fields)["conditions"]
    assert [one for one in conditions if not (isinstance(one, dict) and set(one) < signed)] == [
        {"Content-Type": content_type},
        ["content-length-range", 1, most],
        {"bucket": "images"},
        {"key": fields["key"]},
    ]


def test_two_forms_are_for_two_uploads(functions: Functions) -> None:
    assert requested(functions)["json"]["id"] != requested(functions)["json"]["id"]


def test_one_form_too_many_is_a_429_with_retry_after(functions: Functions) -> None:
    event = load_event("upload")
    event["requestContext"]["authorizer"]["requests_per_minute"] = "1"
    results = [functions.jobs(event) for _ in range(3)]  # a minute can end between two of them
    [*_, last] = [result for result in results if result["statusCode"] != 201]
    assert (last["statusCode"], last["json"]["code"]) == (429, "rate_limited")
    assert 1 <= int(last["headers"]["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('{"content_type": "image/gif"}', 422, "validation_error"),
        ("{}", 422, "validation_error"),
        ('{"content_type": "image/png", "key": "x"}', 422, "validation_error"),
        ("[]", 422, "validation_error"),
        ("", 400, "invalid_json"),
    ],
)
def test_another_body_is_rejected(functions: Functions, body: str, status: int, code: str) -> None:
    result = functions.jobs(load_event("upload") | {"body": body})
    assert (result["statusCode"], result["json"]["code"]) == (status, code)


def test_a_type_by_its_short_name_is_told_those_that_are_taken(functions: Functions) -> None:
    result = functions.jobs(load_event("upload") | {"body": '{"content_type": "image/jpg"}'})
    (field_error,) = result["json"]["detail"]
    assert field_error["msg"].startswith("Input should be 'image/png', 'image/jpeg', 'image/webp',")


def test_a_form_never_outlives_the_credentials_that_sign_it(aws: Aws) -> None:
    now = datetime.now(UTC)
    soon = now + timedelta(minutes=5)
    form = store(aws, expiry=soon).form(
        CLIENT, UPLOAD_ID, content_type="image/png", max_bytes=9, now=now
    )
    assert form.expires_at == soon.replace(microsecond=0)
    expiration = datetime.fromisoformat(policy_of(dict(form.fields))["expiration"])
    assert abs(expiration - soon) <= timedelta(seconds=5)


def test_an_upload_is_used_as_init_image_and_stored_with_the_job(
    functions: Functions, aws: Aws, upstream: FakeUpstream
) -> None:
    data = png(1400, 1300)
    assert len(data) > 5_000_000
    upload_id = sent(aws, data)
    result = functions.generate(from_upload(upload_id))
    assert result["statusCode"] == 200, result["body"]
    (generated_over,) = upstream.init_images
    assert generated_over
    assert generated_over.data == data
    key = f"demo/{result['json']['id']}/init.png"
    assert aws.s3.get_object(Bucket="images", Key=key)["Body"].read() == data


def test_another_clients_upload_looks_like_a_missing_one(functions: Functions, aws: Aws) -> None:
    sent(aws, png(), client_id="somebody-else")
    other = functions.generate(from_upload(UPLOAD_ID))
    none = functions.generate(from_upload("f" * 32))
    assert other["statusCode"] == none["statusCode"] == 422
    assert other["json"] == none["json"]
    (field_error,) = other["json"]["detail"]
    assert (field_error["loc"], field_error["msg"]) == (
        ["body", "init_image_id"],
        "not found or expired",
    )


def test_a_bad_upload_leaves_no_job_and_no_message(functions: Functions, aws: Aws) -> None:
    upload_id = sent(aws, flat(64, 64, kind="gif"))
    result = functions.generate(from_upload(upload_id))
    assert (result["statusCode"], result["json"]["code"]) == (422, "validation_error")
    assert "job_id" not in result["json"]
    assert aws.dynamodb.scan(TableName="jobs", Select="COUNT")["Count"] == 0
    assert "Messages" not in aws.sqs.receive_message(QueueUrl="jobs")
    assert aws.s3.list_objects_v2(Bucket="images", Prefix="demo/")["KeyCount"] == 0


def test_a_call_is_repeated_after_its_upload_is_gone(
    functions: Functions, aws: Aws, upstream: FakeUpstream
) -> None:
    event = from_upload(sent(aws, png()))
    event["headers"]["Idempotency-Key"] = "once"
    first = functions.generate(event)["json"]
    aws.s3.delete_object(Bucket="images", Key=f"_uploads/{CLIENT}/{UPLOAD_ID}")
    event["requestContext"]["extendedRequestId"] = "again"
    again = functions.generate(event)
    assert (again["statusCode"], again["json"]["id"]) == (200, first["id"])
    assert len(upstream.calls) == 1
    event["headers"]["Idempotency-Key"] = "twice"
    assert functions.generate(event)["statusCode"] == 422


def test_an_upload_expires_a_day_after_it_was_sent(aws: Aws) -> None:
    sent(aws, b"x")
    sent_at = aws.s3.head_object(Bucket="images", Key=f"_uploads/{CLIENT}/{UPLOAD_ID}")
    ends = sent_at["LastModified"] + timedelta(days=1)
    assert store(aws).read(CLIENT, UPLOAD_ID, now=ends - timedelta(seconds=1)) == b"x"
    with pytest.raises(NotFoundError):
        store(aws).read(CLIENT, UPLOAD_ID, now=ends)


def reply(size: int, stream: io.BytesIO) -> dict[str, Any]:
    body = StreamingBody(stream, size)
    return {"Body": body, "ContentLength": size, "LastModified": datetime.now(UTC)}


def test_what_is_too_large_is_not_read(aws: Aws) -> None:
    stream = io.BytesIO(b"x")
    with Stubber(aws.s3) as s3:
        s3.add_response("get_object", reply(MAX_UPLOAD_BYTES + 1, stream))
        with pytest.raises(TooLargeError):
            store(aws).read(CLIENT, UPLOAD_ID, now=datetime.now(UTC))
    assert stream.closed


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("NoSuchKey", NotFoundError),
        ("AccessDenied", NotFoundError),  # to who may not list the bucket
        ("InternalError", StorageError),
        ("SlowDown", StorageError),
    ],
)
def test_s3s_errors_are_distinguished(aws: Aws, code: str, error: type[Exception]) -> None:
    with Stubber(aws.s3) as s3:
        s3.add_client_error("get_object", code)
        with pytest.raises(error):
            store(aws).read(CLIENT, UPLOAD_ID, now=datetime.now(UTC))


def test_an_upload_that_comes_in_part_is_a_storage_error(aws: Aws) -> None:
    with Stubber(aws.s3) as s3:
        s3.add_response("get_object", reply(2, io.BytesIO(b"x")))
        with pytest.raises(StorageError):
            store(aws).read(CLIENT, UPLOAD_ID, now=datetime.now(UTC))


def test_s3_out_of_reach_is_a_storage_error(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3.test")

    monkeypatch.setattr(aws.s3, "get_object", unreachable)
    with pytest.raises(StorageError):
        store(aws).read(CLIENT, UPLOAD_ID, now=datetime.now(UTC))
