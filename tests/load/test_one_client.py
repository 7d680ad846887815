"""One client with all the traffic, on the deployed stack: nothing is lost or paid twice."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any, Final

import requests

from local.stack import Stack
from sd3.adapters.dynamodb.job_items import job_from
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.domain.billing import NO_USAGE, ChargeOutcome, UsageEntry
from sd3.domain.job import Job, JobStatus
from tests.support.operator import Api, Operator, outcome
from tests.support.polling import wait_for
from tests.support.servers.counting_sd3 import CountingSd3

AT_ONCE: Final = 40
"""Requests that are under way at the same time: each takes a process of this machine."""

REQUESTS: Final = 200
ROOM: Final = 150
"""Images of 30 steps that the budget has room for."""

QUEUED: Final = 1000


def jobs_of(stack: Stack, client_id: str) -> list[Job]:
    dynamodb: Any = stack.deployed.client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=stack.deployed.outputs()["JobsTable"],
        FilterExpression="client_id = :client AND attribute_exists(document)",
        ExpressionAttributeValues={":client": {"S": client_id}},
    )
    return [job_from(item) for page in pages for item in page["Items"]]


def recorded(stack: Stack, client_id: str) -> UsageEntry:
    usages = UsageStore(stack.deployed.client("dynamodb"), stack.deployed.outputs()["UsageTable"])
    days = usages.days(client_id, since="2026-01-01", until="2099-12-31")
    return reduce(UsageEntry.__add__, (day.usage for day in days), NO_USAGE)


def paid_calls(job: Job) -> int:
    """Count the calls that are or may be on the bill. A model server that is busy refuses some."""
    return sum(charge.outcome is not ChargeOutcome.FREE for charge in job.charges)


def generate_many(
    stack: Stack, token: str, count: int, *, at_once: int = AT_ONCE, **options: Any
) -> Counter[Any]:
    """Send requests, so many at once, and count how they were answered."""

    def generate(_: int) -> tuple[int, str | None]:
        with requests.Session() as http:
            http.trust_env = False
            return outcome(Api(stack, http).generate(token, **options))

    with ThreadPoolExecutor(at_once) as threads:
        return Counter(threads.map(generate, range(count)))


def test_a_budget_of_150_images_gives_200_requests_at_once_150_images(
    stack: Stack, operator: Operator, upstream: CountingSd3
) -> None:
    upstream.paid.clear()
    token = operator.token("all-at-once", BUDGET=f"{ROOM * 0.03:.2f}")
    assert generate_many(stack, token, REQUESTS) == {
        (200, None): ROOM,
        (402, "budget_exceeded"): REQUESTS - ROOM,
    }
    assert upstream.paid.total() == ROOM
    jobs = jobs_of(stack, "all-at-once")
    assert Counter(job.status for job in jobs) == {JobStatus.SUCCEEDED: ROOM}
    assert Counter(map(paid_calls, jobs)) == {1: ROOM}
    exactly = UsageEntry(spent=ROOM * 30_000, images=ROOM)
    wait_for(lambda: recorded(stack, "all-at-once") == exactly, what="exact ledger")


def test_1000_queued_jobs_drain(stack: Stack, operator: Operator, upstream: CountingSd3) -> None:
    upstream.paid.clear()
    token = operator.token("patient")
    # Each response tells the job's place, which the embedded AWS finds by reading the whole table.
    responses = generate_many(stack, token, QUEUED, at_once=10, prefer="respond-async", steps=1)
    assert responses == {(202, None): QUEUED}

    def all_ended() -> list[Job] | None:
        jobs = jobs_of(stack, "patient")
        return jobs if all(job.status.is_terminal for job in jobs) else None

    jobs = wait_for(all_ended, what="end of all jobs", seconds=600)
    assert Counter(job.status for job in jobs) == {JobStatus.SUCCEEDED: QUEUED}
    assert Counter(map(paid_calls, jobs)) == {1: QUEUED}
    assert upstream.paid.total() == QUEUED
    total = reduce(UsageEntry.__add__, (job.usage for job in jobs), NO_USAGE)
    assert total.images == QUEUED
    wait_for(lambda: recorded(stack, "patient") == total, what="exact ledger")
