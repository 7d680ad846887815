"""Lists of jobs: which jobs a reader of all pages gets, and what a page takes."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd3.adapters.dynamodb.job_items import deleted_item_from, item_from
from sd3.adapters.dynamodb.job_queries import JobQueries
from sd3.adapters.dynamodb.sharded_index import KEYS_IN_A_QUERY, SHARDS, shard_of
from sd3.adapters.dynamodb.table import Table
from sd3.domain.job import Job, JobError, JobStatus
from sd3.domain.job_list import JobPage
from tests.support.factories.stored_jobs import job
from tests.support.fakes.indexed_dynamodb import IndexedDynamoDB
from tests.support.fakes.ports import NOON

SUCCEEDED, FAILED = JobStatus.SUCCEEDED, JobStatus.FAILED
SECOND: Final = timedelta(seconds=1)
DAY: Final = NOON.date().isoformat()
OF_ONE_SHARD: Final = [n for n in range(400) if shard_of("ann", f"job-{n}") == "ann#3"]


def queries_of(client: IndexedDynamoDB) -> JobQueries:
    table = Table(cast("Any", client), "jobs", sleep=lambda _: None, jitter=lambda: 0.5)
    return JobQueries(table)


def filled(*jobs: Job, dice: Random | None = None) -> IndexedDynamoDB:
    client = IndexedDynamoDB(dice)
    for one in jobs:
        client.put(item_from(one))
    return client


def failed(job_id: str, **changes: Any) -> Job:
    error = JobError(code="upstream_error", message="It broke.")
    return job(job_id, **({"status": FAILED, "completed_at": NOON, "error": error} | changes))


def many(count: int, **changes: Any) -> Iterator[Job]:
    return (
        job(f"job-{n}", created_at=NOON - n * SECOND, status=SUCCEEDED, **changes)
        for n in range(count)
    )


def page(queries: JobQueries, **query: Any) -> JobPage:
    defaults: Any = {"status": None, "limit": 20, "after": None, "now": NOON}
    return queries.page("ann", **(defaults | query))


def pages(queries: JobQueries, **query: Any) -> Iterator[JobPage]:
    """Read each page until there are no more."""
    found = page(queries, **query)
    yield found
    while found.next_position:
        found = page(queries, **query, after=found.next_position)
        yield found


def position(one: Job) -> tuple[str, str]:
    return one.created_at.isoformat(), one.id


NUMBERS = st.integers(0, 399) | st.sampled_from(OF_ONE_SHARD)
JOBS = st.builds(
    job,
    NUMBERS.map("job-{}".format),
    client_id=st.sampled_from(["ann", "ann", "ann", "bob"]),
    status=st.sampled_from(JobStatus),
    created_at=st.integers(0, 5).map(lambda n: NOON - n * SECOND),
    expires_at=st.integers(0, 3).map(lambda n: NOON + n * SECOND),
)


@given(
    jobs=st.lists(JOBS, max_size=60, unique_by=lambda one: one.id),
    deleted=st.sets(st.integers(0, 59)),
    status=st.none() | st.sampled_from(JobStatus),
    limit=st.integers(1, 25),
    dice=st.randoms(use_true_random=False),
)
def test_the_pages_have_each_job_once_newest_first(
    jobs: list[Job], deleted: set[int], status: JobStatus | None, limit: int, dice: Random
) -> None:
    client = filled(*jobs, dice=dice)
    for n, one in enumerate(jobs):
        if n in deleted:
            client.items[one.id] = deleted_item_from(one, now=NOON)
    expected = [
        one
        for n, one in enumerate(jobs)
        if one.client_id == "ann"
        and one.expires_at > NOON
        and status in {None, one.status}
        and n not in deleted
    ]
    read = list(pages(queries_of(client), status=status, limit=limit))
    listed = [one for found in read for one in found.jobs]
    assert listed == sorted(expected, key=position, reverse=True)
    assert max(len(found.jobs) for found in read) <= limit


@given(
    ends=st.lists(st.integers(0, 9), max_size=250),
    since=st.integers(0, 9),
    hours=st.integers(0, 9),
    dice=st.randoms(use_true_random=False),
)
def test_what_failed_within_the_times_is_read_once_in_order(
    ends: list[int], since: int, hours: int, dice: Random
) -> None:
    jobs = [failed(f"job-{n}", completed_at=NOON + h * SECOND) for n, h in enumerate(ends)]
    first, last = NOON + since * SECOND, NOON + (since + hours) * SECOND
    found = queries_of(filled(*jobs, dice=dice)).failed_on(
        DAY, since=first.isoformat(), until=last.isoformat()
    )
    expected = [one for one in jobs if one.completed_at and first <= one.completed_at <= last]
    assert list(found) == sorted(expected, key=lambda one: (one.completed_at, one.id))


@pytest.mark.parametrize("count", [30, 300, 3000])
@pytest.mark.parametrize("limit", [1, 20, 100])
def test_a_page_takes_the_same_calls_of_few_jobs_and_of_many(count: int, limit: int) -> None:
    client = filled(*many(count))
    found = page(queries_of(client), limit=limit)
    assert len(found.jobs) == min(limit, count)
    assert (len(client.queries), len(client.batches)) == (SHARDS, 1)
    assert [query["Limit"] for query in client.queries] == [KEYS_IN_A_QUERY] * SHARDS
    assert len(client.batches[0]["jobs"]["Keys"]) == min(limit, count)


def test_a_page_of_a_status_that_no_job_has_takes_bounded_work() -> None:
    client = filled(*many(3000))
    found = page(queries_of(client), status=FAILED, limit=100)
    assert (found.jobs, found.next_position) == ((), position(list(many(1000))[-1]))
    assert len(client.batches) == 10
    assert len(client.queries) <= 6 * SHARDS  # 125 keys of a shard on average, 32 in a query


def test_a_full_last_page_has_no_cursor() -> None:
    queries = queries_of(filled(*many(4)))
    assert [len(found.jobs) for found in pages(queries, limit=2)] == [2, 2]


@pytest.mark.parametrize(
    "instead",
    [
        None,
        deleted_item_from(job(), now=NOON),
        item_from(job(client_id="bob")),
        item_from(job(created_at=NOON + SECOND)),
    ],
    ids=["gone", "deleted", "of another client", "made anew"],
)
def test_a_list_leaves_out_what_only_the_index_still_has(instead: Any) -> None:
    client = filled(job(), job("older", created_at=NOON - SECOND))
    del client.items["j"]
    if instead:
        client.items["j"] = instead
    assert [one.id for one in page(queries_of(client)).jobs] == ["older"]


def test_an_id_that_the_index_has_twice_is_listed_once() -> None:
    client = filled(job(created_at=NOON - SECOND), job())
    assert page(queries_of(client)).jobs == (job(),)


@pytest.mark.parametrize(
    "instead",
    [job(status=JobStatus.QUEUED), failed("j", completed_at=NOON + 9 * SECOND)],
    ids=["redriven", "failed again later"],
)
def test_a_job_that_was_redriven_is_not_among_the_failed(instead: Job) -> None:
    client = filled(failed("j"))
    client.items["j"] = item_from(instead)
    until = (NOON + SECOND).isoformat()
    assert not list(queries_of(client).failed_on(DAY, since=NOON.isoformat(), until=until))


def test_lists_may_be_a_moment_old_but_failed_jobs_are_read_as_they_are_now() -> None:
    client = filled(failed("j"))
    queries = queries_of(client)
    page(queries)
    assert list(queries.failed_on(DAY, since=NOON.isoformat(), until=NOON.isoformat()))
    assert [batch["jobs"]["ConsistentRead"] for batch in client.batches] == [False, True]


def test_the_jobs_of_a_client_are_spread_evenly_over_its_shards() -> None:
    counts = Counter(shard_of("ann", f"job-{n}") for n in range(8000))
    assert set(counts) == {f"ann#{n}" for n in range(SHARDS)}
    assert max(counts.values()) < 1.2 * 8000 / SHARDS
