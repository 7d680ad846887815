"""GET /jobs/{id} and GET /health: the function on moto."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sd3.aws import Aws
from sd3.errors import LeaseLostError, NotFoundError, StorageError
from sd3.jobs import JobStore
from sd3.models import Job, JobStatus
from sd3.storage import ImageStore
from tests.fakes import NOON
from tests.integration.conftest import Functions, load_event


def job_event(**changes: Any) -> dict[str, Any]:
    return load_event("job") | changes


def test_a_drawn_job_is_read_back_with_a_fresh_link(functions: Functions) -> None:
    drawn = functions.generate(load_event("generate"))["json"]
    answer = functions.jobs(job_event())
    assert answer["statusCode"] == 200
    read = answer["json"]
    assert read["images"][0]["url"]
    for one in (drawn, read):
        one["images"][0].pop("url")
        one["images"][0].pop("expires_at")
    assert read == drawn


def test_another_clients_job_is_a_404_just_as_none_at_all(functions: Functions) -> None:
    missing = functions.jobs(job_event())
    functions.generate(load_event("generate"))
    event = job_event()
    event["requestContext"]["authorizer"]["client_id"] = "somebody-else"
    other = functions.jobs(event)
    assert missing["statusCode"] == other["statusCode"] == 404
    assert missing["json"] == other["json"]
    assert other["json"]["code"] == "not_found"


@pytest.mark.parametrize("job_id", ["x" * 3000, "..%2f..", "%00", "ä", "a b"])
def test_an_id_that_cannot_be_is_a_404(functions: Functions, job_id: str) -> None:
    answer = functions.jobs(job_event(pathParameters={"id": job_id}))
    assert answer["statusCode"] == 404
    assert answer["json"]["code"] == "not_found"


def test_health_touches_nothing(functions: Functions, aws: Aws) -> None:
    aws.dynamodb.delete_table(TableName="jobs")
    answer = functions.jobs(load_event("health"))
    assert (answer["statusCode"], answer["json"]) == (200, {"status": "ok"})


def test_an_unknown_route_is_a_404_in_our_shape(functions: Functions) -> None:
    answer = functions.jobs(load_event("health") | {"resource": "/nowhere"})
    assert answer["statusCode"] == 404
    assert answer["json"]["code"] == "not_found"


def running_job(**changes: Any) -> Job:
    return Job.model_validate(
        {
            "id": "j",
            "client_id": "ann",
            "status": JobStatus.RUNNING,
            "created_at": NOON,
            "expires_at": NOON + timedelta(days=1),
            "request": {"prompt": "a fox"},
            "seeds": (1,),
            "attempt": 2,
            "lease_until": NOON,
        }
        | changes
    )


@pytest.fixture
def store(aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, "jobs")


def test_a_job_is_kept_whole(store: JobStore) -> None:
    store.create(running_job())
    assert store.get("j", now=NOON) == running_job()


def test_a_job_past_its_expiry_is_not_found(store: JobStore) -> None:
    store.create(running_job())
    with pytest.raises(NotFoundError):
        store.get("j", now=NOON + timedelta(days=1))


def test_only_the_attempt_that_holds_the_job_may_end_it(store: JobStore) -> None:
    store.create(running_job())
    with pytest.raises(LeaseLostError):
        store.save(running_job(attempt=1, status=JobStatus.FAILED))
    store.save(running_job(status=JobStatus.SUCCEEDED))
    with pytest.raises(LeaseLostError):
        store.save(running_job(status=JobStatus.FAILED))
    assert store.get("j", now=NOON).status is JobStatus.SUCCEEDED


def test_a_table_that_cannot_be_read_is_a_storage_error(aws: Aws) -> None:
    with pytest.raises(StorageError):
        JobStore(aws.dynamodb, "nowhere").get("j", now=NOON)


def test_a_link_never_outlives_the_credentials_that_sign_it(aws: Aws) -> None:
    now = datetime.now(UTC)
    soon = now + timedelta(minutes=5)
    store = ImageStore(
        aws.s3,
        "pictures",
        url_ttl=timedelta(hours=1),
        credentials_expiry=lambda: soon,
        parallel=1,
    )
    link = store.sign("a/b/0.jpg", now=now)
    assert link.expires_at == soon
    assert "X-Amz-Expires=300" in link.url
