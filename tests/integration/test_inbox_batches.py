"""A file of lines in the inbox on moto: it is accepted as a batch, once, or refused."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from botocore.stub import Stubber

from functions.inbox import app
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.adapters.s3.inbox import InboxFileStore, InboxResultStore
from sd3.domain.client import READ
from sd3.domain.inbox import InboxObject, InboxOrigin
from sd3.errors import InvalidRequestError
from tests.integration.conftest import forget_process, load_event
from tests.integration.test_inbox import INBOX, inbox
from tests.support.factories.lambda_context import lambda_context

__all__ = ["inbox"]
FILE: Final = b'{"custom_id": "a", "prompt": "a fox"}\r\nno json'
QUEUE: Final = "https://sqs.eu-central-1.amazonaws.com/123456789012/batches"


class Drops:
    """Files of the inbox, their events, and what becomes of them."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws

    def put(self, data: bytes, key: str = "acme/foxes.jsonl", *, sequencer: str = "0A") -> Any:
        """Put a file; return its event."""
        event = load_event("inbox")
        etag = self.aws.s3.put_object(Bucket=INBOX, Key=key, Body=data)["ETag"].strip('"')
        file = {"key": key, "etag": etag, "sequencer": sequencer}
        event["detail"] |= {"bucket": {"name": INBOX}, "object": event["detail"]["object"] | file}
        return event

    def receive(self, event: Any) -> None:
        app.handler(event, lambda_context(seconds=60))

    def result(self, key: str = "acme/inbox/foxes.json") -> Any:
        return json.loads(self.aws.s3.get_object(Bucket="images", Key=key)["Body"].read())

    def tasks(self) -> list[Any]:
        reply = self.aws.sqs.receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in reply.get("Messages", [])]

    def batches(self) -> list[Any]:
        items = self.aws.dynamodb.scan(TableName="batches")["Items"]
        return [json.loads(item["document"]["S"]) for item in items if "document" in item]

    def stored(self) -> list[bytes]:
        """Return the files of lines that were copied."""
        found = self.aws.s3.list_objects_v2(Bucket="images", Prefix="acme/batches/")
        keys = [each["Key"] for each in found.get("Contents", [])]
        return [self.aws.s3.get_object(Bucket="images", Key=key)["Body"].read() for key in keys]


@pytest.fixture
def drops(inbox: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drops]:
    """Provide the inbox with what batches need."""
    monkeypatch.setenv("BATCHES_TABLE", "batches")
    monkeypatch.setenv("BATCH_QUEUE_URL", QUEUE)
    if "batches" not in inbox.dynamodb.list_tables()["TableNames"]:
        inbox.dynamodb.create_table(
            TableName="batches",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "client_id", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("client_id", "item")
            ],
        )
    inbox.sqs.create_queue(QueueName="batches")
    forget_process()
    yield Drops(inbox)
    forget_process()


def test_the_tags_of_a_file_are_not_copied(drops: Drops) -> None:
    event = drops.put(FILE)
    tags: Any = {"TagSet": [{"Key": "scan", "Value": "clean"}]}
    drops.aws.s3.put_object_tagging(Bucket=INBOX, Key="acme/foxes.jsonl", Tagging=tags)
    drops.receive(event)
    [copied] = drops.aws.s3.list_objects_v2(Bucket="images", Prefix="acme/batches/")["Contents"]
    assert drops.aws.s3.get_object_tagging(Bucket="images", Key=copied["Key"])["TagSet"] == []


def test_a_file_of_lines_is_a_batch_of_a_copy_of_them(drops: Drops) -> None:
    drops.receive(drops.put(FILE))
    result = drops.result()
    assert (result["client_id"], result["status"]) == ("acme", "validating")
    assert (result["results"], result["completed_at"]) == (None, None)
    assert [(task["batch_id"], task["step"]) for task in drops.tasks()] == [(result["id"], "split")]
    [batch] = drops.batches()
    assert batch["inbox"]["result_key"] == "acme/inbox/foxes.json"
    assert drops.stored() == [FILE]


def test_an_event_that_comes_again_is_the_same_batch(drops: Drops) -> None:
    event = drops.put(FILE)
    drops.receive(event)
    first = drops.result()
    drops.receive(event)
    assert drops.result() == first
    assert (len(drops.batches()), len(drops.tasks())) == (1, 1)


def test_a_first_result_replaces_no_end_and_no_later_file(drops: Drops) -> None:
    event = drops.put(FILE, sequencer="0B")
    drops.receive(event)
    ended = InboxOrigin(result_key="acme/inbox/foxes.json", sequencer="0B")
    results = InboxResultStore(drops.aws.s3, "images")
    assert results.write(ended, '{"status": "completed"}', first=False)
    drops.receive(event)
    drops.receive(drops.put(FILE, sequencer="0A"))  # its event is late
    assert drops.result() == {"status": "completed"}
    assert len(drops.batches()) == 2


def test_each_write_of_a_file_is_a_batch(drops: Drops) -> None:
    drops.receive(drops.put(FILE, sequencer="0A"))
    drops.receive(drops.put(FILE, sequencer="0B"))
    assert len(drops.batches()) == 2


def test_a_file_that_was_overwritten_is_left_to_the_event_of_the_new_one(drops: Drops) -> None:
    late = drops.put(FILE)
    drops.receive(drops.put(FILE + b"\n", sequencer="0B"))
    first = drops.result()
    drops.receive(late)
    assert drops.result() == first
    assert (len(drops.batches()), len(drops.tasks())) == (1, 1)
    assert drops.stored() == [FILE + b"\n"]


def _without_token(aws: Aws) -> None:
    TokenStore(aws.dynamodb, "clients").revoke("acme")


def _without_scope(aws: Aws) -> None:
    _without_token(aws)
    TokenStore(aws.dynamodb, "clients").issue("acme", scopes=frozenset([READ]))


def _without_file(aws: Aws) -> None:
    aws.s3.delete_object(Bucket=INBOX, Key="acme/foxes.jsonl")


@pytest.mark.parametrize(
    ("change", "code"),
    [(_without_token, "not_found"), (_without_scope, "forbidden"), (_without_file, "not_found")],
)
def test_a_file_that_may_not_be_a_batch_gets_its_error(
    drops: Drops, change: Callable[[Aws], None], code: str
) -> None:
    event = drops.put(FILE)
    change(drops.aws)
    drops.receive(event)
    assert drops.result()["code"] == code
    assert (drops.batches(), drops.tasks(), drops.stored()) == ([], [], [])


def test_a_file_of_more_than_50_mb_is_not_copied(drops: Drops) -> None:
    drops.receive(drops.put(b"x" * 50_000_001))
    assert drops.result()["code"] == "too_large"
    assert drops.stored() == []


def test_a_batch_counts_as_a_request(drops: Drops) -> None:
    TokenStore(drops.aws.dynamodb, "clients").issue(
        "hasty", name="Hasty", limits={"requests_per_minute": 1}
    )
    for at in range(3):  # a minute can end between two of them
        drops.receive(drops.put(FILE, f"hasty/{at}.jsonl"))
    codes = [drops.result(f"hasty/inbox/{at}.json").get("code") for at in range(3)]
    assert codes[0] is None
    assert "rate_limited" in codes


def test_an_earlier_file_replaces_no_results_of_a_later_one(drops: Drops) -> None:
    results = InboxResultStore(drops.aws.s3, "images")
    early, late = (
        InboxOrigin(result_key="acme/inbox/foxes.json", sequencer=text) for text in ("0A", "0B")
    )
    assert results.write_lines(late, io.BytesIO(b"{}\n"))
    assert results.write_lines(late, io.BytesIO(b"{}\n"))  # told twice
    assert not results.write_lines(early, io.BytesIO(b"[]\n"))
    stored = drops.aws.s3.get_object(Bucket="images", Key="acme/inbox/foxes.jsonl")
    assert (stored["Body"].read(), stored["ContentType"]) == (b"{}\n", "application/jsonl")


def test_a_file_that_is_replaced_while_it_is_copied_is_not_copied(drops: Drops) -> None:
    event = drops.put(FILE)["detail"]["object"]
    upload = InboxObject(INBOX, event["key"], event["etag"], "0A")
    found = drops.aws.s3.get_object(Bucket=INBOX, Key=event["key"])
    for code, status in (("PreconditionFailed", 412), ("AccessDenied", 403)):
        with Stubber(drops.aws.s3) as s3:
            s3.add_response("get_object", {k: found[k] for k in ("Body", "ContentLength")})
            s3.add_client_error("copy_object", code, http_status_code=status)
            files = InboxFileStore(drops.aws.s3)
            if code == "PreconditionFailed":
                assert not files.copy(upload, "images", "acme/batches/x", max_bytes=99)
            else:
                with pytest.raises(InvalidRequestError, match="may not read it"):
                    files.copy(upload, "images", "acme/batches/x", max_bytes=99)
