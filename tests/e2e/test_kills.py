"""The deployed worker is killed at every step: its jobs still end, with true charges."""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest
import requests

from local.stack import Stack
from sd3.adapters.dynamodb.job_items import job_from
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.adapters.sqs import message_body
from sd3.domain.billing import NO_USAGE, Quote, UsageEntry
from sd3.domain.job import LEASE_MARGIN_SECONDS, Job, JobStatus
from sd3.domain.request import GenerateRequest
from tests.support.functions import replaced
from tests.support.servers.counting_sd3 import HELD_SEED, CountingSd3, counting

IMAGES: Final = 2
DELIVERIES: Final = 20
TIMEOUT_SECONDS: Final = 20
"""Of the worker, and so of its leases."""
HOLD_SECONDS: Final = 15
VISIBILITY_SECONDS: Final = 15

UNKNOWN_THEN_CHARGED = ("unknown", "charged")
EXPECTED: Final = {
    # step: (calls that the SD3 server was paid for, charges on the job)
    "before the claim": (1, ("charged",)),
    # No call was made, but a death right after the call looks the same: `unknown` is the best.
    "after the claim": (1, UNKNOWN_THEN_CHARGED),
    "after the upstream's response": (2, UNKNOWN_THEN_CHARGED),
    "amid the images": (2, UNKNOWN_THEN_CHARGED),
    "after the images": (2, UNKNOWN_THEN_CHARGED),
    "after the final write": (1, ("charged",)),
}
BUGS: Final = {
    "after the upstream's response": ("unknown",),
    "amid the images": ("charged",),
    "after the images": ("charged",),
}
"""Steps after the call at which an exception ends the job, with the charges: it is paid once."""
DEATHS: Final = tuple(product(EXPECTED, ("exit", "exception")))


class Outcome(NamedTuple):
    """An ended job: as it is stored, as its client sees it, and what was paid for it."""

    job: Job
    response: dict[str, Any]
    paid: int


class Scene:
    """The stack with the worker that dies."""

    def __init__(self, stack: Stack, server: CountingSd3, token: str) -> None:
        self._stack = stack
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"}
        self._table = stack.deployed.outputs()["JobsTable"]
        self._queue = stack.deployed.outputs()["JobsQueue"]
        self._dynamodb = stack.deployed.client("dynamodb")
        self._sqs = stack.deployed.client("sqs")

    def submit(self, seed: int, **metadata: str) -> str:
        """Queue a job; its id."""
        response = requests.post(
            f"{self._stack.api_url}/generate/sd3",
            json={
                "prompt": "a fox",
                "seed": seed,
                "steps": 1,
                "num_images": IMAGES,
                "metadata": metadata,
            },
            headers=self._headers | {"Prefer": "respond-async"},
            timeout=60,
        )
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def deliver(self, job_id: str, times: int) -> None:
        """Send the message of a job once more, at once, `times` times."""
        body = message_body(job_id)
        with ThreadPoolExecutor(times) as pool:
            for sent in [
                pool.submit(self._sqs.send_message, QueueUrl=self._queue, MessageBody=body)
                for _ in range(times)
            ]:
                sent.result()

    def has_ended(self, job_id: str) -> bool:
        return self._job(job_id).status.is_terminal

    def outcome(self, job_id: str) -> Outcome:
        response = requests.get(
            f"{self._stack.api_url}/jobs/{job_id}", headers=self._headers, timeout=10
        )
        job = self._job(job_id)
        return Outcome(job, response.json(), self._server.paid[job.seeds[0]])

    def _job(self, job_id: str) -> Job:
        item = self._dynamodb.get_item(TableName=self._table, Key={"id": {"S": job_id}})["Item"]
        return job_from(item)

    def messages(self) -> tuple[int, int]:
        """Count the waiting messages, and those received and not deleted."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        counts = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=list(names))
        waiting, received = (int(counts["Attributes"][name]) for name in names)
        return waiting, received


def wait_until(happened: Callable[[], bool], *, seconds: float = 120) -> None:
    """Look often; AssertionError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def dying(stack: Stack, *, upstream_url: str, deaths: Path) -> Iterator[None]:
    """Make the worker die as its jobs request, and the queue redeliver soon."""
    sqs, queue = stack.deployed.client("sqs"), stack.deployed.outputs()["JobsQueue"]
    with replaced(
        stack,
        "WorkerFunction",
        by="dying_worker",
        folder="worker",
        timeout=TIMEOUT_SECONDS,
        UPSTREAM_URL=upstream_url,
        DEATHS=str(deaths),
    ):
        seconds = str(VISIBILITY_SECONDS)
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": seconds})
        sqs.purge_queue(QueueUrl=queue)  # other tests' messages, for in the end it is to be empty
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1800"})


@pytest.fixture(scope="module")
def outcomes(
    stack: Stack, new_token: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Outcome]]:
    """Run all jobs at the same time, and return what became of them."""
    deaths = tmp_path_factory.mktemp("deaths")
    with (
        counting(stack.upstream_url) as server,
        dying(stack, upstream_url=server.url, deaths=deaths),
    ):
        scene = Scene(stack, server, new_token())
        jobs = {
            (step, by): scene.submit(seed * IMAGES, dies=step, by=by)
            for seed, (step, by) in enumerate(DEATHS, start=100)
        }
        wait_until(lambda: len(list(deaths.iterdir())) == len(DEATHS))
        # Meanwhile their leases run off.
        jobs["redelivered", ""] = job_id = scene.submit(HELD_SEED)
        scene.deliver(job_id, DELIVERIES)
        wait_until(lambda: scene.messages()[0] == 0, seconds=HOLD_SECONDS)
        server.release.set()
        wait_until(lambda: all(map(scene.has_ended, jobs.values())) and not any(scene.messages()))
        assert {path.name for path in deaths.iterdir()} == {*jobs.values()} - {job_id}
        yield {name: scene.outcome(job_id) for name, job_id in jobs.items()}


@pytest.mark.parametrize(
    ("step", "by"), [death for death in DEATHS if not (death[0] in BUGS and death[1] != "exit")]
)
def test_a_job_ends_although_its_worker_dies(
    outcomes: dict[tuple[str, str], Outcome], step: str, by: str
) -> None:
    job, response, paid = outcomes[step, by]
    calls, charges = EXPECTED[step]
    assert response["status"] == "succeeded"
    assert [image["index"] for image in response["images"]] == list(range(IMAGES))
    for image in response["images"]:
        data = requests.get(image["url"], timeout=10).content
        assert hashlib.sha256(data).hexdigest() == image["sha256"]
    assert (paid, tuple(charge.outcome for charge in job.charges)) == (calls, charges)
    assert [charge.attempt for charge in job.charges] == list(range(1, job.attempt + 1))
    assert response["cost_usd"] == pytest.approx(len(charges) * IMAGES / 1000)


@pytest.mark.parametrize(("step", "charges"), BUGS.items())
def test_a_bug_after_the_call_ends_the_job_which_is_paid_once(
    outcomes: dict[tuple[str, str], Outcome], step: str, charges: tuple[str, ...]
) -> None:
    job, response, paid = outcomes[step, "exception"]
    assert (response["status"], response["error"]["code"]) == ("failed", "internal_error")
    assert (paid, tuple(charge.outcome for charge in job.charges)) == (1, charges)
    assert response["cost_usd"] == pytest.approx(IMAGES / 1000)


def test_a_message_delivered_twenty_times_at_once_is_one_call(
    outcomes: dict[tuple[str, str], Outcome],
) -> None:
    job, response, paid = outcomes["redelivered", ""]
    assert (response["status"], job.attempt, len(job.charges), paid) == ("succeeded", 1, 1, 1)


def test_the_ledger_is_the_sum_of_the_jobs_after_any_crash(
    stack: Stack, outcomes: dict[tuple[str, str], Outcome]
) -> None:
    jobs = [outcome.job for outcome in outcomes.values()]
    usages = UsageStore(stack.deployed.client("dynamodb"), stack.deployed.outputs()["UsageTable"])

    def recorded() -> UsageEntry:
        days = usages.days(jobs[0].client_id, since="2026-01-01", until="2099-12-31")
        return reduce(UsageEntry.__add__, (day.usage for day in days), NO_USAGE)

    total = reduce(UsageEntry.__add__, (job.usage for job in jobs), NO_USAGE)
    wait_until(lambda: recorded() == total)
    assert (total.reserved, total.images) == (0, (len(jobs) - len(BUGS)) * IMAGES)


def test_a_worker_takes_over_an_answered_job_whose_function_has_died(
    stack: Stack, new_token: Callable[[], str]
) -> None:
    """The function has died right after its first write: there is the job, and nothing else."""
    outputs, now = stack.deployed.outputs(), datetime.now(UTC)
    jobs = JobStore(
        stack.deployed.client("dynamodb"), outputs["JobsTable"], usage_table=outputs["UsageTable"]
    )
    quote = Quote(upstream="octoai", micros=30_000)
    written = Job(
        id=uuid4().hex,
        client_id="orphaned",
        status=JobStatus.QUEUED,
        created_at=now,
        expires_at=now + timedelta(days=1),
        request=GenerateRequest(prompt="a fox", steps=1),
        seeds=(1,),
        quote=quote,
    ).start(now=now, seconds=2 - LEASE_MARGIN_SECONDS, quote=quote)
    assert jobs.create(written)
    wait_until(lambda: jobs.get(written.id, now=now).status.is_terminal)
    job = jobs.get(written.id, now=now)
    assert (job.status, job.attempt) == (JobStatus.SUCCEEDED, 2)
    assert [charge.outcome for charge in job.charges] == list(UNKNOWN_THEN_CHARGED)
