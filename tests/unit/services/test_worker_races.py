"""What a worker does about a job that others change at the same time, or have given up."""

from typing import Any

import pytest

from sd3.domain.billing import ChargeOutcome, Quote, UsageEntry
from sd3.domain.generation import UpstreamResult
from sd3.domain.job import Job, JobStatus
from sd3.errors import Sd3Error, StorageError, UpstreamFailedError
from tests.support.factories.waiting_job import World, code, taken
from tests.support.fakes.ports import NOON, FakeUpstream

CHARGED, UNKNOWN = ChargeOutcome.CHARGED, ChargeOutcome.UNKNOWN
QUOTE = Quote(upstream="fake", micros=30_000)
GIVEN_UP = Sd3Error("The queue has given up.")


class Interrupted(FakeUpstream):
    """Something happens to the job while it is generated."""

    world: World

    def __init__(self, change: Any, **values: Any) -> None:
        super().__init__(**values)
        self.change = change

    def generate(self, *arguments: Any, **values: Any) -> UpstreamResult:
        self.world.jobs.save(self.change(self.world.job))
        return super().generate(*arguments, **values)


def interrupted(change: Any, **values: Any) -> World:
    upstream = Interrupted(change, **values)
    upstream.world = World(upstream)
    return upstream.world


def canceled(job: Job) -> Job:
    return job.cancel(now=NOON)


@pytest.mark.parametrize(
    ("errors", "outcome"), [([], CHARGED), ([UpstreamFailedError("500")], UNKNOWN)]
)
def test_a_job_that_is_canceled_meanwhile_keeps_its_charge_and_no_image(
    errors: list[Sd3Error], outcome: ChargeOutcome
) -> None:
    world = interrupted(canceled, errors=errors)
    assert world.work() is None
    assert (world.job.status, world.charges) == (JobStatus.CANCELED, [(1, outcome)])
    assert not world.images.objects


def test_nothing_is_published_by_an_attempt_that_was_taken_over() -> None:
    world = interrupted(
        lambda job: job.requeue(counted=True).start(now=NOON, seconds=60, quote=QUOTE)
    )
    assert world.work() == 2
    assert (world.job.status, world.job.attempt, world.job.images) == (JobStatus.RUNNING, 2, ())


def test_of_two_workers_with_the_same_message_one_generates() -> None:
    world = World()
    read = world.job
    world.jobs.get = lambda *_, **__: read  # type: ignore[method-assign] # both have read it
    assert world.work() is None
    assert world.work() == 2
    assert len(world.upstream.calls) == 1


def test_a_requeued_attempt_is_not_charged_by_a_stale_reader() -> None:
    world = World(**taken(seconds=-20))
    read = world.job
    world.jobs.save(read.requeue(counted=True))
    world.jobs.get = lambda *_, **__: read  # type: ignore[method-assign] # read before
    assert world.work() == 2
    assert (world.job.status, world.charges) == (JobStatus.QUEUED, [])
    assert world.jobs.ledger == {("ann", "2026-11-23"): UsageEntry(reserved=30_000)}


def test_a_failing_table_raises_and_leaves_the_job_running() -> None:
    world = World()
    write = world.jobs.save

    def save(job: Job) -> Job:
        if job.status is JobStatus.RUNNING:
            return write(job)
        raise StorageError("out of order")

    world.jobs.save = save  # type: ignore[method-assign] # it breaks amid the attempt
    with pytest.raises(StorageError):
        world.work()
    assert world.job.status is JobStatus.RUNNING
    assert world.work() == 311


@pytest.mark.parametrize(
    ("before", "charges"),
    [({}, []), (taken(), [(1, UNKNOWN)]), ({"attempt": 3, "failures": 2}, [])],
)
def test_a_dead_letter_ends_its_job(
    before: dict[str, Any], charges: list[tuple[int, ChargeOutcome]]
) -> None:
    world = World(**before)
    world.worker.give_up("job-1", GIVEN_UP)
    assert (world.job.status, code(world.job)) == (JobStatus.FAILED, "internal_error")
    assert world.job.completed_at == NOON
    assert world.charges == charges


@pytest.mark.parametrize("status", [status for status in JobStatus if status.is_terminal])
def test_a_dead_letter_of_an_ended_job_changes_nothing(status: JobStatus) -> None:
    world = World(status=status)
    world.worker.give_up("job-1", GIVEN_UP)
    assert len(world.jobs.writes) == 1


def test_a_dead_letter_of_no_job_is_done() -> None:
    world = World(status=JobStatus.FAILED)
    world.worker.give_up("job-2", GIVEN_UP)
    world.jobs.delete(world.job, now=NOON)
    world.worker.give_up("job-1", GIVEN_UP)


def test_a_dead_letter_of_a_job_that_changes_comes_again() -> None:
    world = World(**taken())
    read = world.job
    world.jobs.save(read.requeue(counted=True))
    world.jobs.get = lambda *_, **__: read  # type: ignore[method-assign] # read too early
    with pytest.raises(StorageError):
        world.worker.give_up("job-1", GIVEN_UP)
    assert world.job.status is JobStatus.QUEUED
