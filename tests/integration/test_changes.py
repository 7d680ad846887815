"""Every write of a job on moto: its usage is recorded, and a job that runs gets its message."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from botocore.stub import Stubber

from functions.changes import app
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.job_items import deleted_item_from, item_from, job_from, key_item_from
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.domain.billing import UsageEntry
from sd3.domain.job import Job, JobStatus
from sd3.errors import StorageError
from tests.integration.conftest import ENVIRONMENT, Functions, forget_process, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import NOON

DAY: Final = "2026-11-23"

Images = dict[str, Any]


@pytest.fixture(autouse=True)
def process(aws: Aws, functions: Functions) -> None:
    forget_process()


def the_job(**changes: Any) -> Job:
    """Return the new job of events/changes.json, which runs."""
    job = job_from(load_event("changes")["Records"][0]["dynamodb"]["NewImage"])
    return job.model_copy(update=changes)


def written(new: Images, old: Images | None = None) -> dict[str, Any]:
    images = {"NewImage": new} | ({"OldImage": old} if old else {})
    return {"dynamodb": images}


def process_all(*records: dict[str, Any]) -> None:
    app.handler({"Records": list(records)}, lambda_context())


def usage(aws: Aws) -> UsageEntry:
    [day] = UsageStore(aws.dynamodb, "usage").days("acme", since=DAY, until=DAY)
    return day.usage


def messages(aws: Aws) -> int:
    url = ENVIRONMENT["QUEUE_URL"]
    found: Any = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    kinds = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
    return sum(int(found[kind]) for kind in kinds)


def test_the_event_of_a_job_from_its_first_write_to_its_end(aws: Aws) -> None:
    app.handler(load_event("changes"), lambda_context())
    assert usage(aws) == UsageEntry(spent=30_000, images=1)
    assert messages(aws) == 1


def test_a_stream_that_repeats_its_records_changes_nothing(aws: Aws) -> None:
    records = load_event("changes")["Records"]
    process_all(records[0])
    assert usage(aws) == UsageEntry(reserved=30_000)
    process_all(*records)
    process_all(*records)
    assert usage(aws) == UsageEntry(spent=30_000, images=1)


def test_a_job_that_runs_gets_a_message_for_the_time_after_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = bootstrap.clock()._replace(now=lambda: NOON)
    monkeypatch.setattr(bootstrap, "clock", lambda: clock)
    waits = the_job(id="waits", status=JobStatus.QUEUED)
    with Stubber(bootstrap.queue()._client()) as sqs:
        body = '{"job_id":"runs"}'
        sent = {"QueueUrl": ENVIRONMENT["QUEUE_URL"], "MessageBody": body, "DelaySeconds": 131}
        sent["MessageGroupId"] = "acme"
        sqs.add_response("send_message", {}, sent)
        process_all(
            written(dict(item_from(the_job(id="runs")))),
            written(dict(item_from(waits))),  # its message was sent before it was written
            written(dict(item_from(the_job(id="takes over"))), dict(item_from(waits))),
        )
        sqs.assert_no_pending_responses()


def test_a_batch_of_jobs_has_all_its_messages(aws: Aws) -> None:
    process_all(*(written(dict(item_from(the_job(id=f"job-{n}")))) for n in range(23)))
    assert messages(aws) == 23


def test_a_message_that_was_not_sent_has_the_records_repeated(aws: Aws) -> None:
    with Stubber(bootstrap.queue()._client()) as sqs:
        sqs.add_client_error("send_message", "InternalFailure")
        with pytest.raises(StorageError):
            app.handler(load_event("changes"), lambda_context())
    assert UsageStore(aws.dynamodb, "usage").days("acme", since=DAY, until=DAY) == ()


def test_a_ledger_that_cannot_be_written_has_the_records_repeated(aws: Aws) -> None:
    with Stubber(bootstrap.job_changes().usage._table._client) as dynamodb:  # type: ignore[attr-defined]
        dynamodb.add_client_error("transact_write_items", "InternalServerError")
        with pytest.raises(StorageError):
            app.handler(load_event("changes"), lambda_context())
    app.handler(load_event("changes"), lambda_context())
    assert usage(aws) == UsageEntry(spent=30_000, images=1)


@pytest.mark.parametrize(
    "record",
    [
        lambda _: written(dict(key_item_from(the_job(), "key", fingerprint="x"))),
        lambda item: written(dict(deleted_item_from(the_job(), now=NOON)), item),
        lambda item: {"dynamodb": {"OldImage": item}},  # expired
    ],
)
def test_what_is_no_write_of_a_job_changes_nothing(
    aws: Aws, record: Callable[[Images], dict[str, Any]]
) -> None:
    process_all(record(dict(item_from(the_job()))))
    assert aws.dynamodb.scan(TableName="usage", Select="COUNT")["Count"] == 0
    assert messages(aws) == 0


def test_a_job_that_cannot_be_read_holds_nothing_up(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = dict(item_from(the_job(id="broken")))
    broken["document"] = {"S": '{"request": {"prompt": "secret"}}'}
    process_all(written(broken), written(dict(item_from(the_job(id="good")))))
    assert usage(aws) == UsageEntry(reserved=30_000)
    assert "secret" not in capsys.readouterr().out
    url = ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"]
    (message,) = aws.sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"]) == {"job_id": "broken"}
