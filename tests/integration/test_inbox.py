"""The inbox on moto: S3's events, files and results, and the jobs in between."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from functions.inbox import app
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.adapters.dynamodb.tokens import ClientStore
from sd3.adapters.s3.inbox import InboxFileStore, InboxResultStore
from sd3.domain.client import READ, SCOPES, Client, ClientLimits
from sd3.domain.inbox import InboxObject, InboxOrigin
from sd3.errors import InvalidRequestError, NotFoundError, StorageError, TooLargeError
from tests.integration.conftest import ENVIRONMENT, Functions, forget_process, load_event
from tests.support.factories.images import jpeg
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import FakeUpstream

INBOX: Final = "sd3-inboxbucket-1q2w3e4r5t6z"
NAME: Final = "für Oma+Opa"
"""The name of the file of events/inbox.json, and of events/inbox_s3.json, where it is encoded."""


@pytest.fixture
def inbox(aws: Aws, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """Provide the inbox's bucket, the clients' table, and the client acme."""
    monkeypatch.setenv("CLIENTS_TABLE", "clients")
    aws.s3.create_bucket(
        Bucket=INBOX, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    aws.dynamodb.create_table(
        TableName="clients",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "token_sha256", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("token_sha256", "client_id")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_client_id",
                "KeySchema": [{"AttributeName": "client_id", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    TokenStore(aws.dynamodb, "clients").issue("acme", name="Acme")
    forget_process()
    yield aws
    forget_process()


def dropped(
    aws: Aws, data: bytes, *, ending: str = "json", storage_class: Any = "STANDARD", **metadata: str
) -> dict[str, Any]:
    """Make the sample event of an existing file."""
    event = load_event("inbox_s3")
    put = aws.s3.put_object(
        Bucket=INBOX,
        Key=f"acme/{NAME}.{ending}",
        Body=data,
        Metadata=metadata,
        StorageClass=storage_class,
    )
    file = event["Records"][0]["s3"]["object"]
    file["key"] = file["key"].replace("json", ending)
    file["eTag"] = put["ETag"].strip('"')
    return event


def receive(event: Any) -> None:
    app.handler(event, lambda_context(seconds=60))


def result(aws: Aws) -> Any:
    reply = aws.s3.get_object(Bucket="images", Key=f"acme/inbox/{NAME}.json")
    assert reply["ContentType"] == "application/json"
    return json.loads(reply["Body"].read())


def messages(aws: Aws) -> list[Any]:
    reply = aws.sqs.receive_message(QueueUrl=ENVIRONMENT["QUEUE_URL"], MaxNumberOfMessages=10)
    return [json.loads(message["Body"])["job_id"] for message in reply.get("Messages", [])]


def test_a_request_from_the_inbox_is_queued_and_gets_a_result(inbox: Aws) -> None:
    receive(dropped(inbox, b'{"prompt": "a fox"}'))
    [job_id] = messages(inbox)
    content = result(inbox)
    assert (content["id"], content["client_id"], content["status"]) == (job_id, "acme", "queued")
    assert "fox" not in json.dumps(content)


def test_the_same_event_twice_is_one_job(inbox: Aws) -> None:
    event = dropped(inbox, b'{"prompt": "a fox"}')
    receive(event)
    receive(event)
    assert len(set(messages(inbox))) == 1
    assert inbox.dynamodb.scan(TableName="jobs", Select="COUNT")["Count"] == 1


def test_an_image_from_the_inbox_is_stored_for_its_job(inbox: Aws) -> None:
    receive(dropped(inbox, jpeg(), ending="png", prompt="a fox", steps="20"))
    job_id = result(inbox)["id"]
    stored = inbox.s3.get_object(Bucket="images", Key=f"acme/{job_id}/init.jpg")
    assert stored["Body"].read() == jpeg()


def test_an_invalid_file_gets_its_error_as_result(inbox: Aws) -> None:
    receive(dropped(inbox, b'{"prompt": "a fox", "nonsense": 1}'))
    content = result(inbox)
    assert (content["code"], content["detail"][0]["loc"]) == (
        "validation_error",
        ["body", "nonsense"],
    )
    assert not messages(inbox)


def test_a_client_of_revoked_and_expired_tokens_is_none(inbox: Aws) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    TokenStore(inbox.dynamodb, "clients").issue("acme", expires_at=soon)
    TokenStore(inbox.dynamodb, "clients").revoke("acme")
    receive(dropped(inbox, b'{"prompt": "a fox"}'))
    assert result(inbox)["code"] == "not_found"
    assert not messages(inbox)


def test_what_a_client_may_do_is_found_with_it(inbox: Aws) -> None:
    tokens = TokenStore(inbox.dynamodb, "clients")
    tokens.issue("acme", scopes=frozenset([READ]), limits={"max_images": 1})
    found = ClientStore(inbox.dynamodb, "clients").get("acme")
    assert found == Client("acme", "Acme", SCOPES, ClientLimits(max_images=1))
    receive(dropped(inbox, b'{"prompt": "a fox", "num_images": 2}'))
    assert result(inbox)["detail"][0]["loc"] == ["body", "num_images"]


TEST_EVENT: Final = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": INBOX}


def set_aside(event: Any) -> dict[str, Any]:
    """Make what Lambda sends to UnprocessableQueue of an event that failed."""
    return {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
    }


def by_event_bridge(event: dict[str, Any]) -> dict[str, Any]:
    """Make EventBridge's event of S3's. Its key is not encoded."""
    [record] = event["Records"]
    file = record["s3"]["object"]
    bridged: dict[str, Any] = load_event("inbox")
    bridged["detail"]["object"] |= {"etag": file["eTag"], "sequencer": file["sequencer"]}
    return bridged


@pytest.mark.parametrize(
    "wrapped",
    [
        set_aside,
        lambda event: set_aside(set_aside(event)),
        by_event_bridge,
        lambda event: set_aside(by_event_bridge(event)),
    ],
)
def test_an_event_in_an_envelope_is_the_same_job(inbox: Aws, wrapped: Any) -> None:
    event = dropped(inbox, b'{"prompt": "a fox"}')
    receive(wrapped(event))
    [job_id] = messages(inbox)
    assert result(inbox)["id"] == job_id
    receive(event)
    assert not messages(inbox)
    assert inbox.dynamodb.scan(TableName="jobs", Select="COUNT")["Count"] == 1


@pytest.mark.parametrize("event", [TEST_EVENT, set_aside(TEST_EVENT)])
def test_the_test_event_is_ignored(event: dict[str, Any]) -> None:
    receive(event)


RECORD: Final = load_event("inbox_s3")["Records"][0]
BODY: Final = json.dumps({"Records": [RECORD]})


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        None,
        "text",
        {"Records": []},
        {"Records": None},
        {"Records": [{}]},
        {"Records": [None]},
        {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": BODY}}]},
        {"Records": [{"eventSource": "aws:sqs", "body": BODY}]},
        {"Messages": [{"MessageId": "1", "Body": json.dumps(set_aside(json.loads(BODY)))}]},
        {"Records": [RECORD | {"eventName": "ObjectRemoved:Delete"}]},
        {"Records": [RECORD | {"eventSource": "aws:sqs"}]},
        {"Records": [RECORD | {"s3": {"bucket": {"name": INBOX}, "object": {"key": "a/b"}}}]},
        by_event_bridge({"Records": [RECORD]}) | {"detail-type": "Object Deleted"},
        by_event_bridge({"Records": [RECORD]}) | {"source": "ours"},
        {"source": "serverless-plugin-warmup"},
        set_aside({}),
        set_aside(None),
    ],
)
def test_any_other_event_is_an_error_that_says_where_to_look(event: Any) -> None:
    with pytest.raises(app.UnknownEventError, match=r"docs/inbox\.md"):
        receive(event)


def test_a_record_that_fails_keeps_no_other_from_its_job(
    inbox: Aws, functions: Functions, capsys: pytest.CaptureFixture[str]
) -> None:
    event = dropped(inbox, b'{"prompt": "a fox"}')
    foreign = json.loads(json.dumps(RECORD))
    foreign["s3"]["bucket"]["name"] = "nowhere"
    event["Records"] = [{"eventSource": "aws:sqs"}, foreign, *event["Records"], {}]
    with pytest.raises(app.UnknownEventError):
        receive(event)
    assert messages(inbox) == [result(inbox)["id"]]
    assert capsys.readouterr().out.count("another file failed") == 2


def test_a_result_is_never_read_as_a_request(inbox: Aws) -> None:
    receive(dropped(inbox, b"no request"))
    event = dropped(inbox, b"")
    event["Records"][0]["s3"]["bucket"]["name"] = "images"
    with pytest.raises(ValueError, match="images bucket"):
        receive(event)
    assert inbox.s3.list_objects_v2(Bucket="images")["KeyCount"] == 1


def test_a_failing_table_has_the_event_come_again(
    inbox: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = dropped(inbox, b'{"prompt": "a fox"}')
    monkeypatch.setenv("JOBS_TABLE", "nowhere")
    with pytest.raises(StorageError):
        receive(event)
    monkeypatch.setenv("JOBS_TABLE", "jobs")
    forget_process()
    receive(event)
    assert inbox.dynamodb.scan(TableName="jobs", Select="COUNT")["Count"] == 1
    assert result(inbox)["status"] == "queued"


def test_a_failing_clients_table_is_an_error(inbox: Aws) -> None:
    with pytest.raises(StorageError):
        ClientStore(inbox.dynamodb, "nowhere").get("acme")


def test_neither_prompt_nor_metadata_is_logged(
    inbox: Aws, functions: Functions, capsys: pytest.CaptureFixture[str]
) -> None:
    receive(dropped(inbox, jpeg(), ending="png", prompt="secret", nonsense="hidden"))
    receive(dropped(inbox, b'{"prompt": "secret"}'))
    log = capsys.readouterr().out
    assert "file rejected" in log
    assert "file received" in log
    assert "secret" not in log
    assert "hidden" not in log
    assert NAME not in log


# ---- InboxFileStore ------------------------------------------------------------------------------


def upload(aws: Aws, data: bytes) -> InboxObject:
    """Make S3's event of a file that is put now."""
    put = aws.s3.put_object(Bucket=INBOX, Key="acme/x", Body=data, Metadata={"prompt": "y"})
    return InboxObject(INBOX, "acme/x", put["ETag"].strip('"'), "01")


def test_a_file_is_read_with_its_metadata(inbox: Aws) -> None:
    file = InboxFileStore(inbox.s3).read(upload(inbox, b"1234"), max_bytes=4)
    assert file
    assert (file.data, file.metadata) == (b"1234", {"prompt": "y"})


def test_a_file_that_is_too_large_is_not_read(inbox: Aws) -> None:
    with pytest.raises(TooLargeError):
        InboxFileStore(inbox.s3).read(upload(inbox, b"12345"), max_bytes=4)


def test_a_file_that_was_replaced_is_none(inbox: Aws) -> None:
    old = upload(inbox, b"old")
    upload(inbox, b"new")
    assert InboxFileStore(inbox.s3).read(old, max_bytes=4) is None


def test_a_file_that_was_removed_is_not_found(inbox: Aws) -> None:
    with pytest.raises(NotFoundError):
        InboxFileStore(inbox.s3).read(upload(inbox, b"")._replace(key="acme/y"), max_bytes=4)


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_file_gets_its_error_as_result(inbox: Aws, storage_class: Any) -> None:
    receive(dropped(inbox, b'{"prompt": "a fox"}', storage_class=storage_class))
    content = result(inbox)
    assert (content["code"], content["detail"][0]["type"]) == ("validation_error", "unreadable")
    assert "archive" in content["message"]
    assert not messages(inbox)


def test_a_file_in_an_archive_that_is_read_at_once_becomes_a_job(inbox: Aws) -> None:
    receive(dropped(inbox, b'{"prompt": "a fox"}', storage_class="GLACIER_IR"))
    assert messages(inbox) == [result(inbox)["id"]]


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("InvalidObjectState", 403, "archive"),
        ("AccessDenied", 403, "may not read"),
        ("InvalidRequest", 400, "SSE-C"),
        ("KMS.AccessDeniedException", 400, "KMS"),
        ("KMS.DisabledException", 400, "KMS"),
        ("KMS.InvalidKeyUsageException", 400, "KMS"),
        ("KMS.KMSInvalidStateException", 400, "KMS"),
        ("KMS.NotFoundException", 400, "KMS"),
        ("InvalidURI", 400, "name"),
        ("400", 400, "name"),
    ],
)
def test_a_file_that_can_never_be_read_is_an_error_of_the_file(
    inbox: Aws, code: str, status: int, said: str
) -> None:
    s3 = Stubber(inbox.s3)
    s3.add_client_error("get_object", code, http_status_code=status)
    with s3, pytest.raises(InvalidRequestError, match=said):
        InboxFileStore(inbox.s3).read(InboxObject(INBOX, "acme/x", "e", "01"), max_bytes=4)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalError", 500),
        ("SlowDown", 503),
        ("503", 503),
        ("ServiceUnavailable", 503),
        ("RequestTimeout", 400),
        ("ExpiredToken", 400),
        ("RequestTimeTooSkewed", 403),
        ("KMS.ThrottlingException", 400),
        ("KMS.KMSInternalException", 500),
        ("KMS.DependencyTimeoutException", 503),
        ("NoSuchBucket", 404),
    ],
)
def test_a_failure_that_may_pass_is_a_storage_error(inbox: Aws, code: str, status: int) -> None:
    s3 = Stubber(inbox.s3)
    s3.add_client_error("get_object", code, http_status_code=status)
    with s3, pytest.raises(StorageError):
        InboxFileStore(inbox.s3).read(InboxObject(INBOX, "acme/x", "e", "01"), max_bytes=4)


def test_a_lost_connection_is_a_storage_error(inbox: Aws) -> None:
    def fail(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://nowhere.test")

    inbox.s3.meta.events.register("before-call.s3.GetObject", fail)
    with pytest.raises(StorageError):
        InboxFileStore(inbox.s3).read(InboxObject(INBOX, "acme/x", "e", "01"), max_bytes=4)


def test_a_failing_bucket_is_a_storage_error(inbox: Aws) -> None:
    with pytest.raises(StorageError):
        InboxFileStore(inbox.s3).read(upload(inbox, b"")._replace(bucket="nowhere"), max_bytes=4)


def test_a_truncated_file_is_a_storage_error(inbox: Aws) -> None:
    body = StreamingBody(io.BytesIO(b"1"), content_length=4)
    s3 = Stubber(inbox.s3)
    s3.add_response("get_object", {"ContentLength": 4, "Body": body, "Metadata": {}})
    with s3, pytest.raises(StorageError):
        InboxFileStore(inbox.s3).read(InboxObject(INBOX, "acme/x", "e", "01"), max_bytes=4)


# ---- InboxResultStore ----------------------------------------------------------------------------

KEY: Final = "acme/inbox/x.json"


def origin(sequencer: str) -> InboxOrigin:
    return InboxOrigin(result_key=KEY, sequencer=sequencer)


def body(aws: Aws) -> bytes:
    return aws.s3.get_object(Bucket="images", Key=KEY)["Body"].read()


@pytest.mark.parametrize(
    ("held", "new", "first", "written"),
    [
        ("0B", "0C", True, True),
        ("0B", "0B", True, False),
        ("0B", "0B", False, True),
        ("0C", "0B", False, False),
        ("0b", "0B", True, False),
        ("0B", "0B01", True, True),
        ("0B01", "0B", False, False),
        ("0B", "0B00", True, False),
        ("", "0B", True, True),
    ],
)
def test_a_result_replaces_only_those_of_its_own_and_earlier_uploads(
    inbox: Aws, held: str, new: str, first: bool, written: bool
) -> None:
    results = InboxResultStore(inbox.s3, "images")
    assert results.write(origin(held), "held", first=True)
    assert results.write(origin(new), "new", first=first) is written
    assert body(inbox) == (b"new" if written else b"held")


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"])
def test_a_result_that_changes_meanwhile_is_read_again(inbox: Aws, code: str) -> None:
    with Stubber(inbox.s3) as s3:
        s3.add_client_error("head_object", "403", http_status_code=403)
        s3.add_client_error("put_object", code, http_status_code=412)
        s3.add_response("head_object", {"ETag": '"e"', "Metadata": {"sequencer": "0C"}})
        assert InboxResultStore(inbox.s3, "images").write(origin("0B"), "x", first=False) is False


def test_a_result_that_always_changes_is_an_error(inbox: Aws) -> None:
    s3 = Stubber(inbox.s3)
    for _ in range(5):
        s3.add_client_error("head_object", "404", http_status_code=404)
        s3.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
    with s3, pytest.raises(StorageError, match="too fast"):
        InboxResultStore(inbox.s3, "images").write(origin("0B"), "x", first=False)


@pytest.mark.parametrize(
    ("failing", "code"),
    [
        ("head_object", "SlowDown"),
        ("head_object", "400"),
        ("put_object", "SlowDown"),
        ("put_object", "AccessDenied"),
        ("put_object", "KMS.DisabledException"),
    ],
)
def test_a_result_that_cannot_be_written_is_an_error(inbox: Aws, failing: str, code: str) -> None:
    s3 = Stubber(inbox.s3)
    if failing == "put_object":
        s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_client_error(failing, code, http_status_code=400)
    with s3, pytest.raises(StorageError):
        InboxResultStore(inbox.s3, "images").write(origin("0B"), "x", first=False)


@pytest.mark.parametrize("operation", ["HeadObject", "PutObject"])
def test_a_bucket_out_of_reach_is_an_error(inbox: Aws, operation: str) -> None:
    def fail(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://nowhere.test")

    inbox.s3.meta.events.register(f"before-call.s3.{operation}", fail)
    with pytest.raises(StorageError):
        InboxResultStore(inbox.s3, "images").write(origin("0B"), "x", first=False)


def test_the_bucket_itself_enforces_a_condition(inbox: Aws) -> None:
    inbox.s3.put_object(Bucket="images", Key=KEY, Body=b"held", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        inbox.s3.put_object(Bucket="images", Key=KEY, Body=b"new", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        inbox.s3.put_object(Bucket="images", Key=KEY, Body=b"new", IfMatch='"other"')
