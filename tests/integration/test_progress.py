"""The position of jobs that wait, on moto: whatever becomes of jobs, the index has those that wait."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.progress import ProgressStore
from sd3.adapters.dynamodb.sharded_index import SHARDS
from sd3.domain.billing import Quote
from sd3.domain.job import Job, JobStatus
from sd3.domain.progress import Pace
from sd3.errors import Sd3Error
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import NOON

QUOTE = Quote(upstream="fake", micros=1)
BEGIN = {"attempt": 0, "lease_until": None}


@pytest.fixture
def store(aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, "jobs", usage_table="usage")


@pytest.fixture
def progress(aws: Aws) -> ProgressStore:
    return ProgressStore(aws.dynamodb, "jobs")


class Fleet:
    """Jobs that clients make, that workers take and that operators put back, one step a second."""

    def __init__(self, store: JobStore, run: int) -> None:
        self.store, self.run, self.now = store, run, NOON + timedelta(days=3 * run)
        self.jobs: dict[str, Job] = {}

    def step(self, does: str, number: int) -> None:
        """Do something to one of the jobs, if its state allows that."""
        self.now += timedelta(seconds=1)
        allowed = [one for one in self.jobs.values() if does in self.steps(one)]
        if does == "create" or not allowed:
            self.create(is_queued=bool(number % 4))
            return
        chosen = allowed[number % len(allowed)]
        if does == "delete":
            self.store.delete(chosen, now=self.now)
            del self.jobs[chosen.id]
        else:
            self.jobs[chosen.id] = self.store.save(self.steps(chosen)[does])

    def create(self, *, is_queued: bool) -> None:
        status = JobStatus.QUEUED if is_queued else JobStatus.RUNNING
        new = job(f"job-{self.run}-{self.now:%H%M%S}", **BEGIN, status=status, created_at=self.now)
        created = self.store.create(new)
        assert created
        self.jobs[new.id] = created

    def steps(self, one: Job) -> dict[str, Any]:
        error, ended = Sd3Error("It broke."), one.status.is_terminal
        steps: dict[str, Any] = {"delete": None} if ended else {"cancel": one.cancel(now=self.now)}
        if one.status is JobStatus.QUEUED:
            steps["start"] = one.start(now=self.now, seconds=60, quote=QUOTE)
        if one.status is JobStatus.RUNNING:
            steps["requeue"] = one.requeue(counted=True).back_off(until=self.now)
            steps["fail"] = one.fail(error, now=self.now)
        if one.status is JobStatus.FAILED:
            steps["redrive"] = one.redrive(now=self.now)
        return steps

    def waiting(self) -> list[Job]:
        """Return the jobs that wait, in the order in which they began to."""
        waiting = [one for one in self.jobs.values() if one.status is JobStatus.QUEUED]
        return sorted(waiting, key=lambda one: one.redriven_at or one.created_at)


STEPS = st.sampled_from(
    ["create", "create", "start", "start", "requeue", "fail", "redrive", "cancel", "delete"]
)
RUN = iter(range(10**6))


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 99)), min_size=15, max_size=30))
def test_positions_are_exact_whatever_becomes_of_jobs(
    steps: list[tuple[str, int]], store: JobStore, progress: ProgressStore
) -> None:
    fleet = Fleet(store, next(RUN))  # some days after the one before, whose jobs count no more
    for does, number in steps:
        fleet.step(does, number)
    waiting = fleet.waiting()
    assert [progress.position(one) for one in waiting] == list(range(len(waiting)))


def test_each_job_that_waits_is_in_the_index_and_no_other(store: JobStore, aws: Aws) -> None:
    fleet = Fleet(store, 0)
    for number, does in enumerate(["create"] * 6 + ["start"] * 3 + ["fail", "redrive", "cancel"]):
        fleet.step(does, number)
    index = aws.dynamodb.scan(TableName="jobs", IndexName="waiting")["Items"]
    assert {item["id"]["S"] for item in index} == {one.id for one in fleet.waiting()}
    assert index
    assert {name for item in index for name in item} == {"id", "waiting_shard", "waiting_since"}


def test_a_position_is_a_thousand_at_the_most_and_reads_twice_as_many_keys(
    progress: ProgressStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def query(**query: Any) -> dict[str, Any]:
        read.append(query["Limit"])
        return {"Count": query["Limit"], "LastEvaluatedKey": {"id": {"S": "j"}}}

    monkeypatch.setattr(progress._table, "query", query)
    assert progress.position(job()) == 1000
    assert sum(read) < 2000
    assert len(read) == SHARDS


def test_jobs_that_were_lost_count_no_more_after_two_days(
    store: JobStore, progress: ProgressStore
) -> None:
    def queued(job_id: str, at: datetime) -> Job:
        new = job(job_id, **BEGIN, status=JobStatus.QUEUED, created_at=at)
        store.create(new)
        return new

    queued("lost", NOON - timedelta(days=2, seconds=1))
    queued("late", NOON - timedelta(hours=23))
    assert progress.position(queued("new", NOON)) == 1


def test_images_are_those_of_the_attempt_and_a_pace_ends_after_an_hour(
    progress: ProgressStore,
) -> None:
    second, third = job(attempt=2), job(attempt=3)
    assert progress.images(second) == 0
    progress.note_images(second, 5, now=NOON)
    assert (progress.images(second), progress.images(third)) == (5, 0)
    assert progress.pace("single", now=NOON) is None
    progress.note_pace("single", Pace(2.5, 0.25), now=NOON)
    assert progress.pace("single", now=NOON + timedelta(minutes=59)) == Pace(2.5, 0.25)
    assert progress.pace("single", now=NOON + timedelta(minutes=60)) is None
    assert progress.pace("batch", now=NOON) is None
