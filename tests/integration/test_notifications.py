"""The end of jobs on moto: changes in the table's stream become events and results."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final

import pytest
from botocore.stub import Stubber

from functions.notifications import app
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.job_items import deleted_item_from, item_from, job_from, key_item_from
from sd3.adapters.eventbridge import EventBridgeBus
from sd3.domain.job import Job, JobStatus
from tests.integration.conftest import ENVIRONMENT, Functions, forget_process, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import NOON

DONE: Final[dict[str, Any]] = {"batchItemFailures": []}
RESULT_KEY: Final = "acme/inbox/für Oma+Opa.json"

Received = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def received(functions: Functions) -> Iterator[Received]:
    """Return the entries that were sent to the bus since the last call, their details parsed."""
    entries: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        entries.extend(params["Entries"])

    def receive() -> list[dict[str, Any]]:
        got = [entry | {"Detail": json.loads(entry["Detail"])} for entry in entries]
        entries.clear()
        return got

    forget_process()
    client = bootstrap.job_event_publisher().bus._client  # type: ignore[attr-defined]
    client.meta.events.register("provide-client-params.events.PutEvents", note)
    yield receive
    forget_process()


def the_job() -> Job:
    """Return the job of events/notifications.json."""
    return job_from(load_event("notifications")["Records"][0]["dynamodb"]["NewImage"])


def change(
    number: int, *, old: dict[str, Any] | None = None, new: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Make a record of the stream."""
    record: dict[str, Any] = deepcopy(load_event("notifications")["Records"][0])
    stream = record["dynamodb"]
    del stream["OldImage"], stream["NewImage"]
    images = {"OldImage": old, "NewImage": new}
    stream |= {name: image for name, image in images.items() if image}
    stream["SequenceNumber"] = str(number)
    return record


def item(status: JobStatus = JobStatus.SUCCEEDED, **fields: Any) -> dict[str, Any]:
    fields = {"status": status, "inbox": None} | fields
    return dict(item_from(the_job().model_copy(update=fields)))


def ends(count: int, **fields: Any) -> dict[str, Any]:
    records = [change(n, new=item(id=f"job-{n}", **fields)) for n in range(count)]
    return {"Records": records}


def test_a_job_that_has_ended_publishes_an_event(aws: Aws, received: Received) -> None:
    assert app.handler(load_event("notifications"), lambda_context()) == DONE
    [event] = received()
    assert (event["Source"], event["DetailType"]) == ("sd3.jobs", "Image Job Ended")
    assert event["EventBusName"] == "default"
    detail = event["Detail"]
    key = "acme/0f1e2d3c4b5a69788796a5b4c3d2e1f0/0.jpg"
    assert detail == {
        "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "client_id": "acme",
        "status": "succeeded",
        "created_at": "2026-11-23T12:00:00.000000Z",
        "completed_at": "2026-11-23T12:00:04.000000Z",
        "images": [
            {
                "index": 0,
                "seed": 4275432097,
                "removed_for_safety": False,
                "safety_score": None,
                "bucket": "images",
                "key": key,
                "content_type": "image/jpeg",
                "width": 1024,
                "height": 1024,
                "bytes": 1523311,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "provenance": None,
                "c2pa": None,
                "upstream": "octoai",
                "error": None,
            }
        ],
        "prediction_time_ms": 3451.7,
        "cost_usd": 0.03,
        "upstream": "octoai",
        "ignored": [],
        "metadata": {"order": "7"},
        "error": None,
        "batch": None,
        "reused_from": None,
    }
    response = json.loads(aws.s3.get_object(Bucket="images", Key=RESULT_KEY)["Body"].read())
    assert response["images"][0].pop("url") == f"s3://images/{key}"
    assert response == detail


def test_a_job_from_the_api_has_no_result_file(aws: Aws, received: Received) -> None:
    assert app.handler({"Records": [change(1, new=item())]}, lambda_context()) == DONE
    assert len(received()) == 1
    assert aws.s3.list_objects_v2(Bucket="images")["KeyCount"] == 0


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELED])
def test_every_ended_job_publishes_an_event(received: Received, status: JobStatus) -> None:
    record = change(1, old=item(JobStatus.QUEUED), new=item(status, images=()))
    assert app.handler({"Records": [record]}, lambda_context()) == DONE
    [event] = received()
    assert (event["Detail"]["status"], event["Detail"]["images"]) == (status, [])


def test_an_image_that_was_not_stored_has_no_bucket_and_key(received: Received) -> None:
    [record] = the_job().images
    removed = record.model_copy(update={"key": None, "removed_for_safety": True})
    app.handler({"Records": [change(1, new=item(images=(removed,)))]}, lambda_context())
    [image] = received()[0]["Detail"]["images"]
    assert (image["bucket"], image["key"], image["removed_for_safety"]) == (None, None, True)


def test_no_other_change_publishes_an_event(received: Received) -> None:
    records = [
        change(1, new=item(JobStatus.QUEUED)),
        change(2, old=item(JobStatus.QUEUED), new=item(JobStatus.RUNNING)),
        change(3, old=item(JobStatus.CANCELED), new=item(JobStatus.CANCELED)),  # its cost
        change(4, old=item(), new=dict(deleted_item_from(the_job(), now=NOON))),
        change(5, new=dict(key_item_from(the_job(), "key", fingerprint="x"))),
        change(6, old=item()),  # expired
        change(7, old=item(JobStatus.FAILED), new=item(JobStatus.QUEUED)),  # redriven
    ]
    assert app.handler({"Records": records}, lambda_context()) == DONE
    assert received() == []


def test_an_end_that_cannot_be_read_holds_nothing_up(
    received: Received, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = item() | {"document": {"S": '{"request": {"prompt": "secret"}}'}}
    records = [change(1, new=broken), change(2, new=item(id="good"))]
    assert app.handler({"Records": records}, lambda_context()) == DONE
    assert [event["Detail"]["id"] for event in received()] == ["good"]
    log = capsys.readouterr().out
    assert "cannot be read" in log
    assert "secret" not in log
    url = ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"]
    (message,) = aws.sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"]) == {"job_id": broken["id"]["S"]}


def test_a_bus_that_is_not_there_has_all_come_again(
    received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.job_event_publisher().bus, "_name", "arn:aws:nothing")
    with Stubber(bootstrap.job_event_publisher().bus._client) as events:  # type: ignore[attr-defined]
        events.add_client_error("put_events", "InternalFailure")
        assert app.handler(ends(3), lambda_context()) == {
            "batchItemFailures": [{"itemIdentifier": "0"}]
        }


def test_the_first_event_that_the_bus_did_not_take_is_where_it_begins_again(
    received: Received,
) -> None:
    failed = {"ErrorCode": "ThrottlingException", "ErrorMessage": "x"}
    with Stubber(bootstrap.job_event_publisher().bus._client) as events:  # type: ignore[attr-defined]
        events.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
        events.add_response("put_events", {"FailedEntryCount": 1, "Entries": [failed]})
        assert app.handler(ends(3), lambda_context()) == {
            "batchItemFailures": [{"itemIdentifier": "1"}]
        }


def test_a_bug_is_lambdas_to_count(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(EventBridgeBus, "put", put)
    with pytest.raises(ZeroDivisionError):
        app.handler(ends(3), lambda_context())


def test_every_end_is_counted(received: Received, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        change(1, new=item(id="job-1")),
        change(2, new=item(JobStatus.FAILED, id="job-2", images=(), charges=())),
        change(3, new=item(JobStatus.QUEUED, id="job-3")),
    ]
    app.handler({"Records": records}, lambda_context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [line for line in lines if "_aws" in line]
    assert [(line["job_id"], line["status"]) for line in counted if "JobsEnded" in line] == [
        ("job-1", "succeeded"),
        ("job-2", "failed"),
    ]
    [cost] = [line for line in counted if "CostMicros" in line]
    assert (cost["upstream"], cost["CostMicros"]) == ("octoai", [30_000])


def test_a_record_whose_result_was_not_written_is_retried(aws: Aws, received: Received) -> None:
    records = [
        change(1, new=item()),
        *load_event("notifications")["Records"],
        change(3, new=item()),
    ]
    number = records[1]["dynamodb"]["SequenceNumber"]
    with Stubber(bootstrap.job_event_publisher().results._client) as s3:  # type: ignore[attr-defined]
        s3.add_client_error("head_object", "SlowDown")
        response = app.handler({"Records": records}, lambda_context())
    assert response == {"batchItemFailures": [{"itemIdentifier": number}]}
    assert app.handler({"Records": records[1:]}, lambda_context()) == DONE
    assert aws.s3.list_objects_v2(Bucket="images")["KeyCount"] == 1


def test_no_message_and_no_event_has_a_webhooks_address_or_secret(
    aws: Aws, received: Received
) -> None:
    webhook = {"url": "https://hooks.example/path-only-they-know?token=only-they-know"}
    request = the_job().request.model_dump(exclude_defaults=True) | {"webhook": webhook}
    job = Job.model_validate({**the_job().model_dump(), "inbox": None, "request": request})
    records = [change(1, new=dict(item_from(job)))]
    assert app.handler({"Records": records}, lambda_context()) == DONE
    queue = ENVIRONMENT["DELIVERIES_QUEUE_URL"]
    [message] = aws.sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    told = f"{message} {received()}"
    assert '"is_own":true' in message["Body"]
    assert not [word for word in ("only-they-know", "hooks.example", "whsec_") if word in told]
