"""What a later version has stored, on moto: this version reads it, and writes it back whole."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from functions.changes import app as changes_app
from functions.notifications import app as notifications_app
from ops.redrive import put_back
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.job_items import item_from
from sd3.adapters.dynamodb.table import to_item
from sd3.adapters.dynamodb.tokens import item_from as token_item_from
from sd3.adapters.dynamodb.tokens import token_from
from sd3.adapters.dynamodb.usage_items import days_from, spent_key
from sd3.domain.client import ClientLimits, Token
from sd3.domain.job import Job
from sd3.errors import Sd3Error, StorageError, UpstreamFailedError
from sd3.responses.pagination import cursor_from, position_in
from tests.integration.conftest import ENVIRONMENT, Functions, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import NOON, FakeUpstream

JOB_ID: Final = load_event("job")["pathParameters"]["id"]
KEPT: Final = {"", ".request", ".inbox", ".charges.0"}
"""Where the fields of a later version stay, whatever becomes of the job."""

KEPT_TRIED: Final = KEPT - {".request"}
"""Of a job whose request has `NOTHING_MORE`."""

NOTHING_MORE: Final[dict[str, Any]] = {"url": {}, "bucket": None}
"""Values of fields of a later version that ask for nothing: this version works on such a job."""

KEPT_UNTRIED: Final = {*KEPT, ".quote", ".images.0", ".images.0.error"}

Work = Callable[[], object]


def document(status: str) -> dict[str, Any]:
    """Make the document of a job, which has a field that nobody knows at every level."""
    now = datetime.now(UTC)
    stored = job(
        JOB_ID,
        client_id="demo",
        status=status,
        created_at=now,
        expires_at=now + timedelta(days=1),
        lease_until=None,
        completed_at=now,
        inbox={"result_key": "demo/inbox/x.json", "sequencer": "1"},
        quote={"upstream": "fake", "micros": 30_000},
        charges=[{"attempt": 1, "upstream": "fake", "outcome": "free", "micros": 0}],
        images=[
            {"index": 0, "seed": 1, "key": f"demo/{JOB_ID}/0.jpg", "bytes": 1}
            | {"error": {"code": "x", "message": "x"}}
        ],
        error={"code": "internal_error", "message": "x"},
    )
    return dict(of_later_version(json.loads(stored.model_dump_json(exclude_none=True))))


def of_later_version(value: Any) -> Any:
    if isinstance(value, list):
        return [of_later_version(one) for one in value]
    if not isinstance(value, dict):
        return value
    known = {
        name: one if name == "metadata" else of_later_version(one) for name, one in value.items()
    }
    return known | {"url": {"later": [1.5, None]}, "bucket": "later"}


def later_parts(value: Any, path: str = "") -> Iterator[str]:
    """Name the parts of a document that still have the fields of the later version."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from later_parts(one, f"{path}.{number}")
    elif isinstance(value, dict):
        if (value.get("url"), value.get("bucket")) == ({"later": [1.5, None]}, "later"):
            yield path
        for name, one in value.items():
            yield from later_parts(one, f"{path}.{name}")


def store(aws: Aws, written: dict[str, Any], status: str = "") -> dict[str, Any]:
    """Store a document, and return its item. `status` is one that only the item may have."""
    readable = Job.model_validate_json(json.dumps(written))
    own = {"document": {"S": json.dumps(written | ({"status": status} if status else {}))}}
    item = item_from(readable) | own
    aws.dynamodb.put_item(TableName="jobs", Item=item)
    return item


def stored(aws: Aws) -> dict[str, Any]:
    item = aws.dynamodb.get_item(TableName="jobs", Key={"id": {"S": JOB_ID}})["Item"]
    return dict(json.loads(item["document"]["S"]))


def work() -> None:
    bootstrap.worker().process(JOB_ID, seconds=60, sent_at=datetime.now(UTC), receives=1)


def give_up() -> None:
    bootstrap.worker().give_up(JOB_ID, Sd3Error("x"))


def redrive() -> None:
    jobs, now = bootstrap.worker().jobs, datetime.now(UTC)
    put_back(jobs.get(JOB_ID, now=now), jobs, bootstrap.queue(), now=now)


def listing() -> dict[str, Any]:
    none = {"queryStringParameters": None, "multiValueQueryStringParameters": None}
    return load_event("list_jobs") | none


def aside(aws: Aws) -> list[str]:
    url = ENVIRONMENT["UNPROCESSABLE_QUEUE_URL"]
    return [one["Body"] for one in aws.sqs.receive_message(QueueUrl=url).get("Messages", [])]


@pytest.mark.parametrize(
    ("status", "act", "errors", "ends", "kept"),
    [
        ("queued", work, [], "succeeded", KEPT_TRIED),
        ("queued", work, [UpstreamFailedError("500")] * 9, "queued", KEPT_TRIED),
        ("running", work, [], "succeeded", KEPT_TRIED),
        ("queued", give_up, [], "failed", KEPT_UNTRIED),
        ("running", give_up, [], "failed", KEPT_UNTRIED),
        ("failed", redrive, [], "queued", {*KEPT, ".quote"}),
    ],
)
def test_every_write_keeps_what_it_does_not_know(
    functions: Functions,
    aws: Aws,
    upstream: FakeUpstream,
    status: str,
    act: Work,
    errors: list[Sd3Error],
    ends: str,
    kept: set[str],
) -> None:
    upstream.errors = errors
    before = document(status)
    if kept is KEPT_TRIED:
        before["request"] |= NOTHING_MORE
    store(aws, before)
    act()
    written = stored(aws)
    assert written["status"] == ends
    assert set(later_parts(written)) >= kept
    asked = {name: value for name, value in before["request"].items() if value is not None}
    assert written["request"].items() >= asked.items()


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_canceled_job_keeps_what_is_not_known(
    functions: Functions, aws: Aws, status: str
) -> None:
    store(aws, document(status))
    assert functions.jobs(load_event("cancel"))["json"]["status"] == "canceled"
    assert set(later_parts(stored(aws))) >= KEPT_UNTRIED


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "failed", "canceled"])
def test_every_route_answers_with_what_it_knows(
    functions: Functions, aws: Aws, status: str
) -> None:
    store(aws, document(status))
    for name, answer in (("job", 200), ("list_jobs", 200), ("image", 302)):
        response = functions.jobs(load_event(name))
        assert response["statusCode"] == answer
        assert "later" not in str(response)
    assert functions.jobs(load_event("delete"))["statusCode"] == 204
    assert functions.jobs(load_event("job"))["statusCode"] == 410


def test_the_end_of_a_job_is_published_and_recorded(functions: Functions, aws: Aws) -> None:
    images = {"NewImage": store(aws, document("succeeded")), "OldImage": item("running")}
    event: Any = {"Records": [load_event("notifications")["Records"][0] | {"dynamodb": images}]}
    assert notifications_app.handler(event, lambda_context()) == {"batchItemFailures": []}
    changes_app.handler(event, lambda_context())
    assert not aside(aws)
    result = aws.s3.get_object(Bucket="images", Key="demo/inbox/x.json")["Body"].read().decode()
    assert json.loads(result)["status"] == "succeeded"
    assert "later" not in result
    assert functions.jobs(load_event("usage"))["json"]["today"]["pictures"] == 1


def item(status: str) -> dict[str, Any]:
    written = document(status)
    return dict(item_from(Job.model_validate_json(json.dumps(written)))) | {
        "document": {"S": json.dumps(written)}
    }


def test_a_repeated_call_finds_its_job(functions: Functions, aws: Aws) -> None:
    first, again = load_event("generate"), load_event("generate")
    again["requestContext"]["extendedRequestId"] = "again"
    for event in (first, again):
        event["headers"]["Idempotency-Key"] = "key"
    functions.generate(first)
    store(aws, of_later_version(stored(aws)))
    [key] = keys(aws)
    aws.dynamodb.put_item(TableName="jobs", Item=key | {"later": {"S": "x"}})
    assert functions.generate(again)["json"]["id"] == JOB_ID


def keys(aws: Aws) -> list[Any]:
    items = aws.dynamodb.scan(TableName="jobs")["Items"]
    return [one for one in items if one["id"]["S"].startswith("key#")]


def test_a_call_that_adopts_a_job_keeps_what_its_place_says(functions: Functions, aws: Aws) -> None:
    first, again = load_event("generate"), load_event("generate")
    again["requestContext"]["extendedRequestId"] = "again"
    for event in (first, again):
        event["headers"]["X-Fern-SDK-Name"] = "octoai"
    functions.generate(first)
    store(aws, of_later_version(stored(aws)))
    [place] = keys(aws)
    a_minute_ago = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    changed = {"later": {"S": "x"}, "held_until": {"S": a_minute_ago}}
    aws.dynamodb.put_item(TableName="jobs", Item=place | changed)
    assert functions.generate(again)["json"]["id"] == JOB_ID
    [held] = keys(aws)
    assert held["later"] == {"S": "x"}
    assert held["held_until"]["S"] > a_minute_ago


NEW_VALUES: Final[list[dict[str, Any]]] = [
    {"image_encoding": "avif"},
    {"num_images": 64, "response_format": "stream"},
    {"negative_prompt": ["frogs", "crowds"]},
    {"upscale": {"factor": 2}},
]


@pytest.mark.parametrize("values", NEW_VALUES)
def test_a_request_with_values_of_a_later_version_is_left_to_that_version(
    functions: Functions, aws: Aws, upstream: FakeUpstream, values: dict[str, Any]
) -> None:
    written = document("queued")
    written["request"] |= values
    written["charges"][0]["outcome"] = "refunded"
    written["error"]["code"] = "of_later"
    written["images"][0]["content_type"] = "image/avif"
    store(aws, written)
    with pytest.raises(StorageError, match="later version"):
        work()
    assert not upstream.calls
    assert stored(aws) == written
    assert functions.jobs(listing())["json"]["jobs"][0]["id"] == JOB_ID
    assert functions.jobs(load_event("cancel"))["json"]["status"] == "canceled"
    assert stored(aws)["request"] == written["request"]
    assert stored(aws)["charges"] == written["charges"]


@pytest.mark.parametrize(
    "values", [{"metadata": {"order": 7}}, {"metadata": None}, {"num_images": "many"}]
)
def test_a_request_whose_answer_this_version_cannot_write_waits_for_that_version(
    functions: Functions, aws: Aws, capsys: pytest.CaptureFixture[str], values: dict[str, Any]
) -> None:
    written = document("queued")
    other = load_event("generate")
    other["requestContext"]["extendedRequestId"] = "other"
    functions.generate(other)
    ended = document("succeeded")
    for one in (written, ended):
        one["request"] |= {"prompt": "sealed"} | values
    aws.dynamodb.put_item(TableName="jobs", Item=item("queued") | {"document": text(written)})
    listed = functions.jobs(listing())
    assert [one["id"] for one in listed["json"]["jobs"]] == ["other"]
    with pytest.raises(StorageError, match="cannot be read"):
        work()
    images = {"NewImage": item("succeeded") | {"document": text(ended)}, "OldImage": item("queued")}
    event: Any = {"Records": [load_event("notifications")["Records"][0] | {"dynamodb": images}]}
    assert notifications_app.handler(event, lambda_context()) == {"batchItemFailures": []}
    assert len(aside(aws)) == 1
    assert "sealed" not in "".join(capsys.readouterr())


def text(document: dict[str, Any]) -> dict[str, str]:
    return {"S": json.dumps(document)}


def test_what_is_stored_beside_jobs_is_read_all_the_same() -> None:
    later = {"later": {"S": "x"}}
    token = Token("0" * 64, "ann", "Ann", NOON, scopes=frozenset(("read", "of-later")))
    assert token_from(token_item_from(token) | later) == token
    limits = ClientLimits(max_images=2)
    assert ClientLimits.from_context(limits.to_context() | {"later": "x"}) == limits
    used = {**spent_key("ann", "2026-11-23"), **to_item({"spent": 7, "images": 1})}
    unknown = {"client_id": {"S": "ann"}, "day": {"S": "2026-11-23#later"}}
    assert days_from([used | later, unknown | later])["2026-11-23"].usage.spent == 7
    position = ("2026-11-23T12:00:00+00:00", "job-1")
    cursor = cursor_from((*position, "later"), client_id="ann")  # type: ignore[arg-type]
    assert position_in(cursor, client_id="ann") == position


def test_a_job_with_a_status_of_a_later_version_waits_for_that_version(
    functions: Functions, aws: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    other = load_event("generate")
    other["requestContext"]["extendedRequestId"] = "other"
    functions.generate(other)
    images = {"NewImage": store(aws, document("queued"), status="paused")}
    listed = functions.jobs(listing())["json"]["jobs"]
    assert [one["id"] for one in listed] == ["other"]
    assert "left out of a list" in caplog.text
    for name in ("job", "cancel", "delete", "image"):
        assert functions.jobs(load_event(name))["statusCode"] == 500
    for act in (work, give_up):
        with pytest.raises(StorageError):
            act()
    assert stored(aws)["status"] == "paused"
    changes_app.handler({"Records": [{"dynamodb": images}]}, lambda_context())
    assert aside(aws) == [json.dumps({"job_id": JOB_ID}, separators=(",", ":"))]
