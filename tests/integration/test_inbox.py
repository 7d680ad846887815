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
from sd3.errors import NotFoundError, StorageError, TooLargeError
from tests.integration.conftest import ENVIRONMENT, Functions, forget_process, load_event
from tests.support.factories.images import jpeg
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import FakeUpstream

INBOX: Final = "sd3-inbox-123456789012-eu-central-1"
NAME: Final = "für Oma+Opa"
"""The name that events/inbox.json has, encoded."""


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


def dropped(aws: Aws, data: bytes, *, ending: str = "json", **metadata: str) -> dict[str, Any]:
    """Make the sample event of an existing file."""
    event = load_event("inbox")
    put = aws.s3.put_object(Bucket=INBOX, Key=f"acme/{NAME}.{ending}", Body=data, Metadata=metadata)
    file = event["Records"][0]["s3"]["object"]
    file["key"] = file["key"].replace("json", ending)
    file["eTag"] = put["ETag"].strip('"')
    return event


def receive(event: dict[str, Any]) -> None:
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


def test_the_test_event_is_ignored() -> None:
    receive({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": INBOX})


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


@pytest.mark.parametrize("failing", ["head_object", "put_object"])
def test_a_result_that_cannot_be_written_is_an_error(inbox: Aws, failing: str) -> None:
    s3 = Stubber(inbox.s3)
    if failing == "put_object":
        s3.add_client_error("head_object", "404", http_status_code=404)
    s3.add_client_error(failing, "SlowDown", http_status_code=400)
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
