"""`make redrive` for the deployed stack: failed jobs of every shard of their day are generated."""

import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from local.stack import Stack
from sd3.adapters.dynamodb.job_items import item_from
from sd3.adapters.dynamodb.sharded_index import shard_of
from sd3.domain.job import Job, JobError, JobStatus
from sd3.domain.request import GenerateRequest
from tests.support.operator import Api, Operator
from tests.support.polling import wait_for

COUNT = 16
CLIENT = "redriven"


@pytest.fixture
def ended() -> datetime:
    """Return a time at which no other test's job has failed."""
    return datetime.now(UTC) - timedelta(days=3)


@pytest.fixture
def jobs(stack: Stack, ended: datetime) -> list[str]:
    """Store failed jobs, and return their ids from the oldest on."""
    table = stack.deployed.outputs()["JobsTable"]
    jobs = [failed(ended + timedelta(microseconds=n)) for n in range(COUNT)]
    for job in jobs:
        stack.deployed.client("dynamodb").put_item(TableName=table, Item=item_from(job))
    assert len({shard_of(CLIENT, job.id) for job in jobs}) > 1
    return [job.id for job in jobs]


def failed(ended: datetime) -> Job:
    return Job(
        id=uuid.uuid4().hex,
        client_id=CLIENT,
        status=JobStatus.FAILED,
        created_at=ended,
        completed_at=ended,
        expires_at=ended + timedelta(days=30),
        request=GenerateRequest(prompt="a fox", steps=1),
        seeds=(7,),
        error=JobError(code="upstream_error", message="It broke."),
    )


def listed(api: Api, token: str, **query: str) -> list[str]:
    """Read the ids of all pages."""
    page = api.get(token, f"/jobs?{urlencode({'limit': 5} | query)}").json()
    ids = [job["id"] for job in page["jobs"]]
    if page["next_cursor"]:
        return ids + listed(api, token, **(query | {"cursor": page["next_cursor"]}))
    return ids


def test_jobs_of_all_shards_are_listed_redriven_once_and_generated(
    api: Api, operator: Operator, ended: datetime, jobs: list[str]
) -> None:
    token = operator.token(CLIENT)
    assert listed(api, token) == listed(api, token, status="failed") == jobs[::-1]
    times = {"SINCE": ended.isoformat(), "UNTIL": (ended + timedelta(minutes=1)).isoformat()}
    assert operator.make("redrive", **times)[-1] == f"{COUNT} jobs put back"
    wait_for(
        lambda: listed(api, token, status="succeeded") == jobs[::-1], what="end of all the jobs"
    )
    assert operator.make("redrive", **times)[-1] == "0 jobs put back"
