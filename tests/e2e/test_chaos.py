"""72 jobs while 30 % of the upstream's calls fail: all end, once, and their charges are true."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

import pytest
import requests

from local.environment import free_port
from local.stack import Stack
from sd3.adapters.dynamodb.job_items import job_from
from sd3.domain.billing import ChargeOutcome
from sd3.domain.job import Job, JobStatus
from tests.support.functions import configure
from tests.support.servers.misbehaving_sd3 import MAY_BE_PAID, misbehaving

JOBS: Final = 72
SHARE: Final = 0.3
CLIENTS: Final = 6
"""How many requests are under way at once."""
TIMEOUT_SECONDS: Final = 20
"""Of the functions, which wait for the upstream for 15 s less."""
SLOW_SECONDS: Final = 6.5
REFUSING_SECONDS: Final = 2
"""At first nobody listens at the upstream's address."""
END_SECONDS: Final = 300
"""Usually 30 are enough. When probes fail by chance, the circuit breaker rests up to 120 s."""
FUNCTIONS: Final = ("GenerateFunction", "WorkerFunction")
TRIES: Final = 4
MAX_WAIT_SECONDS: Final = 10

DOORS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"Idempotency-Key": "chaos-{seed}"},
    {"Prefer": "respond-async"},
)


class Scene:
    """A client of the stack, and its stored jobs."""

    def __init__(self, stack: Stack, token: str, client_id: str) -> None:
        self._stack, self._token, self._client_id = stack, token, client_id
        self._dynamodb = stack.deployed.client("dynamodb")
        self._outputs = stack.deployed.outputs()

    def ask(self, seed: int) -> int:
        """Request an image by one of the entrypoints, and return the last status.

        As often as a client would that was told to ask again: after a 503, which cost nothing,
        when it says so, and with an Idempotency-Key after every failure.
        """
        headers = {name: text.format(seed=seed) for name, text in DOORS[seed % 3].items()}
        for _ in range(TRIES):
            response = requests.post(
                f"{self._stack.api_url}/generate/sd3",
                json={"prompt": "a fox", "seed": seed, "steps": 1},
                headers=headers | {"Authorization": f"Bearer {self._token}"},
                timeout=60,
            )
            if response.status_code == 503:
                time.sleep(min(float(response.headers["Retry-After"]), MAX_WAIT_SECONDS))
            elif response.status_code < 500 or "Idempotency-Key" not in headers:
                break
        return response.status_code

    def jobs(self) -> list[Job]:
        """Return all stored jobs of this client."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._outputs["JobsTable"])
        items = (item for page in pages for item in page["Items"] if "document" in item)
        jobs = (job_from(item) for item in items)
        return [job for job in jobs if job.client_id == self._client_id]

    def images(self) -> set[str]:
        """Return the keys of all images of this client."""
        pages = self._stack.deployed.client("s3").get_paginator("list_objects_v2")
        where = {"Bucket": self._outputs["ImagesBucket"], "Prefix": f"{self._client_id}/"}
        return {
            each["Key"] for page in pages.paginate(**where) for each in page.get("Contents", [])
        }


@contextmanager
def calling(stack: Stack, url: str) -> Iterator[None]:
    """Have the functions call another upstream, and wait for it for a short time."""
    functions = stack.deployed.client("lambda")
    with ExitStack() as restored:
        for name in map(stack.deployed.resource, FUNCTIONS):
            was = functions.get_function_configuration(FunctionName=name)
            variables = was["Environment"]["Variables"]
            restored.callback(
                configure,
                functions,
                name,
                Timeout=was["Timeout"],
                Environment={"Variables": variables},
            )
            configure(
                functions,
                name,
                Timeout=TIMEOUT_SECONDS,
                Environment={"Variables": variables | {"UPSTREAM_URL": url}},
            )
        yield


def wait_for_ends(scene: Scene, *, seconds: float) -> list[Job]:
    deadline = time.monotonic() + seconds
    while True:
        jobs = scene.jobs()
        if all(job.status.is_terminal for job in jobs):
            return jobs
        assert time.monotonic() < deadline, Counter(job.status for job in jobs)
        time.sleep(2)


def counts_of(url: str) -> dict[int, Counter[str]]:
    told = requests.get(f"{url}/counts", timeout=10).json()
    return {int(seed): Counter(counts) for seed, counts in told.items()}


@pytest.fixture(scope="module")
def scene(stack: Stack) -> Scene:
    return Scene(stack, stack.deployed.issue_token("chaos"), "chaos")


class Ended(NamedTuple):
    """What became of it all; jobs and the upstream's counts are by seed."""

    jobs: dict[int, list[Job]]
    counts: dict[int, Counter[str]]
    statuses: Counter[int]


@pytest.fixture(scope="module")
def ended(stack: Stack, scene: Scene) -> Ended:
    """All jobs, which have ended."""
    port = free_port(0)
    url = f"http://127.0.0.1:{port}"
    with calling(stack, url), ThreadPoolExecutor(CLIENTS) as clients:
        responses = clients.map(scene.ask, range(1, JOBS + 1))
        time.sleep(REFUSING_SECONDS)
        with misbehaving(port, stack.upstream_url, share=SHARE, slow_seconds=SLOW_SECONDS):
            statuses = list(responses)
            jobs = wait_for_ends(scene, seconds=END_SECONDS)
            counts = counts_of(url)
    by_seed: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        by_seed[job.seeds[0]].append(job)
    return Ended(by_seed, counts, Counter(statuses))


def test_every_request_is_a_job_that_ends(ended: Ended) -> None:
    assert set(ended.statuses) <= {200, 202, 502, 503, 504}
    assert set(ended.jobs) == set(range(1, JOBS + 1))


def test_no_job_is_published_twice(ended: Ended, scene: Scene) -> None:
    jobs, _, _ = ended
    succeeded = [job for each in jobs.values() for job in each if job.status is JobStatus.SUCCEEDED]
    assert len(succeeded) > JOBS / 2
    keys = [record.key for job in succeeded for record in job.images]
    assert len(keys) == len(succeeded)
    assert set(keys) == scene.images()
    for each in ended.jobs.values():
        assert sum(job.status is JobStatus.SUCCEEDED for job in each) <= 1


def test_the_charges_are_what_the_upstream_counted(ended: Ended) -> None:
    jobs, counts, _ = ended
    failing = sum(counts.values(), Counter[str]())
    assert failing.total() - failing["generated"] > SHARE * failing.total() / 2
    wrong: dict[int, Any] = {}
    for seed, each in jobs.items():
        charges = [charge for job in each for charge in job.charges]
        paid = [charge for charge in charges if charge.outcome is not ChargeOutcome.FREE]
        may_be_paid = sum(counts.get(seed, Counter())[outcome] for outcome in MAY_BE_PAID)
        if len(paid) != may_be_paid or any(charge.micros != 1000 for charge in paid):
            wrong[seed] = (counts.get(seed), each)
        charged = sum(charge.outcome is ChargeOutcome.CHARGED for charge in charges)
        assert charged == sum(job.status is JobStatus.SUCCEEDED for job in each)
    assert not wrong
