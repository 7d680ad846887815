"""`Image Job Ended` on the bus of the deployed stack, for every entrypoint, at least once."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from local.stack import Stack
from sd3.adapters.dynamodb.job_items import item_from
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from tests.support.event_queue import EventQueue
from tests.support.functions import configure
from tests.support.polling import wait_for


class Listener:
    """The events of ended jobs so far, by the job's id."""

    def __init__(self, stack: Stack) -> None:
        self._queue = EventQueue(stack, "Image Job Ended")

    def heard(self, client_id: str) -> dict[str, Any]:
        """Return the details of a client's events so far, by their jobs."""
        return {detail["id"]: detail for detail in self._queue.details(client_id)}

    def hear(self, job: Job) -> Any:
        """Wait for the event of a job, and return its detail."""
        look = lambda: self.heard(job.client_id).get(job.id)  # noqa: E731 - one expression
        return wait_for(look, what="event")


@pytest.fixture(scope="module")
def listener(stack: Stack) -> Listener:
    return Listener(stack)


def new_job(status: JobStatus) -> Job:
    """Make a job that no function has stored."""
    now = datetime.now(UTC)
    return Job(
        id=uuid.uuid4().hex,
        client_id=f"ended-{uuid.uuid4().hex[:8]}",
        status=status,
        created_at=now,
        expires_at=now + timedelta(days=1),
        request=GenerateRequest(prompt="a fox"),
        seeds=(7,),
        completed_at=now if status.is_terminal else None,
    )


def write(stack: Stack, job: Job) -> None:
    """Write a job as a function does that dies right after it."""
    table = stack.deployed.outputs()["JobsTable"]
    stack.deployed.client("dynamodb").put_item(TableName=table, Item=item_from(job))


def ended(job: Job) -> Job:
    update = {"status": JobStatus.SUCCEEDED, "completed_at": datetime.now(UTC)}
    return job.model_copy(update=update)


@contextmanager
def broken(stack: Stack) -> Iterator[None]:
    """Send notifications to a bus that is not there, until that has failed and the block ends."""
    functions = stack.deployed.client("lambda")
    name = stack.deployed.resource("NotificationsFunction")
    environment = functions.get_function_configuration(FunctionName=name)["Environment"]
    nowhere = {"Variables": environment["Variables"] | {"EVENT_BUS": "nowhere"}}
    configure(functions, name, Environment=nowhere)

    def has_failed() -> bool:
        [mapping] = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        return bool(mapping["LastProcessingResult"] == "FAILED")

    try:
        yield
        wait_for(has_failed, what="failure of NotificationsFunction")
    finally:
        configure(functions, name, Environment=environment)


def test_the_jobs_of_every_entrypoint_publish_events_and_no_others(
    stack: Stack, listener: Listener, http: requests.Session
) -> None:
    client_id = f"ended-{uuid.uuid4().hex[:8]}"
    http.headers["Authorization"] = f"Bearer {stack.deployed.issue_token(client_id)}"
    url = f"{stack.api_url}/generate/sd3"
    request = {"prompt": "a fox", "steps": 1, "metadata": {"order": "7"}}
    generated = http.post(url, json=request, timeout=60).json()
    queued = http.post(url, json=request, headers={"Prefer": "respond-async"}, timeout=60).json()
    rejected = http.post(url, json={"prompt": "a sketch-forbidden fox"}, timeout=60).json()
    assert http.post(url, json={"prompt": ""}, timeout=60).status_code == 422
    stack.deployed.client("s3").put_object(
        Bucket=stack.deployed.outputs()["InboxBucket"],
        Key=f"{client_id}/fox.json",
        Body=json.dumps(request).encode(),
    )

    def look() -> Any:
        heard = listener.heard(client_id)
        return heard if len(heard) >= 4 else None

    heard = wait_for(look, what="events")
    [dropped] = set(heard) - {generated["id"], queued["id"], rejected["job_id"]}
    jobs = http.get(f"{stack.api_url}/jobs", timeout=10).json()["jobs"]
    assert {job["id"]: job["status"] for job in jobs} == {
        job_id: detail["status"] for job_id, detail in heard.items()
    }
    assert (heard[dropped]["status"], heard[rejected["job_id"]]["status"]) == (
        "succeeded",
        "failed",
    )
    detail = heard[generated["id"]]
    assert (detail["cost_usd"], detail["metadata"]) == (0.001, {"order": "7"})
    assert detail["images"][0]["sha256"] == generated["images"][0]["sha256"]
    assert "http" not in json.dumps(detail)
    assert "a fox" not in json.dumps(detail)


def test_an_event_is_published_although_its_function_dies_after_the_final_write(
    stack: Stack, listener: Listener
) -> None:
    job = new_job(JobStatus.RUNNING)
    write(stack, job)
    write(stack, ended(job))
    assert listener.hear(job)["status"] == "succeeded"


def test_an_event_is_published_after_the_bus_recovers(stack: Stack, listener: Listener) -> None:
    jobs = [new_job(JobStatus.RUNNING) for _ in range(3)]
    with broken(stack):
        for job in jobs:
            write(stack, ended(job))
    assert [listener.hear(job)["status"] for job in jobs] == ["succeeded"] * 3


def test_only_ends_reach_the_function(stack: Stack, listener: Listener) -> None:
    waiting, gone = new_job(JobStatus.QUEUED), new_job(JobStatus.CANCELED)
    write(stack, waiting)
    write(stack, gone)  # the stream has an order: when this is heard, the other was passed over
    assert listener.hear(gone)["status"] == "canceled"
    assert listener.heard(waiting.client_id) == {}
    write(stack, waiting.model_copy(update={"status": JobStatus.FAILED}))  # leave none open
