"""The lists of the jobs table on moto: a client's jobs, and those that failed on a day."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.domain.job import JobError, JobStatus
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import NOON

QUEUED, SUCCEEDED, FAILED = JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED


@pytest.fixture
def store(aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, "jobs", usage_table="usage")


def everything(**changes: Any) -> dict[str, Any]:
    return {"status": None, "limit": 100, "after": None, "now": NOON} | changes


def filled(store: JobStore) -> None:
    """Nine jobs of one client, one a minute: each third failed, each fourth expires at once."""
    for n in range(9):
        created_at = NOON + timedelta(minutes=n)
        status = FAILED if n % 3 == 0 else SUCCEEDED
        expires_at = NOON if n % 4 == 0 else NOON + timedelta(days=1)
        store.create(job(str(n), created_at=created_at, status=status, expires_at=expires_at))
    store.create(job("other", client_id="bob"))


def paged(store: JobStore, **query: Any) -> list[str]:
    """Return each page's ids, until there are no more."""
    pages, after = [], None
    while True:
        page = store.page("ann", **everything(after=after, **query))
        pages.append("".join(one.id for one in page.jobs))
        if (after := page.next_position) is None:
            return pages


def test_pages_are_newest_first_and_skip_what_has_expired(store: JobStore) -> None:
    filled(store)
    assert paged(store) == ["765321"]
    assert "".join(paged(store, limit=2)) == "765321"
    assert max(map(len, paged(store, limit=2))) == 2


def test_pages_of_one_status_are_full_while_there_are_more(store: JobStore) -> None:
    filled(store)
    assert paged(store, status=FAILED, limit=1)[:2] == ["6", "3"]
    assert "".join(paged(store, status=SUCCEEDED, limit=2)) == "7521"
    assert paged(store, status=QUEUED) == [""]


def test_a_filter_that_fits_few_gives_a_short_page_and_a_cursor(store: JobStore) -> None:
    store.create(job("old", status=FAILED))
    for n in range(30):
        store.create(job(f"new-{n}", created_at=NOON + timedelta(minutes=n + 1)))
    pages = paged(store, status=FAILED, limit=1)
    assert "".join(pages) == "old"
    assert len(pages) <= 30 // 10 + 2


def test_jobs_of_one_moment_are_each_listed_once(store: JobStore) -> None:
    for n in range(5):
        store.create(job(str(n)))
    assert sorted("".join(paged(store, limit=2))) == list("01234")


def test_failed_jobs_are_found_by_the_time_of_their_end(store: JobStore) -> None:
    error = JobError(code="upstream_error", message="It broke.")
    for n in range(4):
        ended = NOON + timedelta(hours=n)
        store.create(job(str(n), status=FAILED, completed_at=ended, error=error))
    store.create(job("good", status=SUCCEEDED, completed_at=NOON + timedelta(hours=1)))
    hours = {
        name: (NOON + timedelta(hours=n)).isoformat() for name, n in (("since", 1), ("until", 2))
    }
    found = store.failed_on(NOON.date().isoformat(), **hours)
    assert [one.id for one in found] == ["1", "2"]
