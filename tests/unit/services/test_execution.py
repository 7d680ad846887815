"""What an attempt comes to, and what is written of it when the job has changed meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.billing import Charge, ChargeOutcome, Quote
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    LeaseLostError,
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeUpstream,
    fallback,
    make_executor,
    sample_image,
)

CHARGED, UNKNOWN, FREE = ChargeOutcome.CHARGED, ChargeOutcome.UNKNOWN, ChargeOutcome.FREE
PRICE = 2 * 30_000
QUOTE = Quote(upstream="fake", micros=PRICE)


class World:
    """One job, taken for its first attempt."""

    def __init__(self, **upstream: Any) -> None:
        self.upstream = FakeUpstream(**upstream)
        self.jobs, self.images = FakeJobs(), FakeImages()
        self.executor = make_executor(
            jobs=self.jobs, images=self.images, generator=fallback(self.upstream)
        )
        waiting = Job(
            id="job-1",
            client_id="ann",
            status=JobStatus.QUEUED,
            created_at=NOON,
            expires_at=NOON + timedelta(days=30),
            request=GenerateRequest(prompt="a fox", num_images=2),
            seeds=(7, 8),
        )
        self.jobs.create(waiting.start(now=NOON, seconds=60, quote=QUOTE))
        self.job = self.stored

    @property
    def stored(self) -> Job:
        return self.jobs.items["job-1"]

    def generated(self) -> Job:
        """Return the job with its images stored, and nothing written yet."""
        return self.executor.execute(self.job, None, until=1060).job


def charges(job: Job) -> list[tuple[int, str, int]]:
    return [(charge.attempt, charge.outcome, charge.micros) for charge in job.charges]


def test_a_lease_outlives_its_caller_by_a_margin() -> None:
    job = World().job
    assert (job.attempt, job.lease_until) == (1, NOON + timedelta(seconds=70))


def test_images_are_generated_with_the_jobs_seeds_and_stored() -> None:
    world = World()
    init = sample_image()
    job, images, error, _ = world.executor.execute(world.job, init, until=1060)
    assert error is None
    assert [one.seed for one in images] == [7, 8]
    assert world.upstream.init_images == [init]
    assert world.upstream.deadlines == [1060 - 15]
    assert (job.status, job.completed_at) == (JobStatus.SUCCEEDED, NOON)
    assert job.prediction_time_ms == 1234.5
    assert [record.key for record in job.images] == ["ann/job-1/0.jpg", "ann/job-1/1.jpg"]
    assert job.upstream == "fake"
    assert charges(job) == [(1, CHARGED, PRICE)]
    assert world.stored is world.job


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UpstreamUnavailableError("busy", retry_after=3), FREE),
        (ContentPolicyError("no"), FREE),
        (UpstreamRefusedError("no key"), FREE),
        (StorageError("no secret"), FREE),
        (UpstreamTimeoutError("slow"), UNKNOWN),
        (UpstreamFailedError("500"), UNKNOWN),
        (UpstreamResponseError("cut off"), UNKNOWN),
    ],
)
def test_a_call_that_fails_leaves_its_charge(error: Sd3Error, outcome: ChargeOutcome) -> None:
    world = World(errors=[error])
    job, images, raised, _ = world.executor.execute(world.job, None, until=1060)
    assert (images, raised) == ((), error)
    assert charges(job) == [(1, outcome, 0 if outcome is FREE else PRICE)]
    assert (job.status, job.images) == (JobStatus.RUNNING, ())


def test_images_that_cannot_be_stored_are_paid_all_the_same() -> None:
    world = World()
    world.images.error = StorageError("full")
    job, images, error, _ = world.executor.execute(world.job, None, until=1060)
    assert (images, error) == ((), world.images.error)
    assert (job.status, charges(job)) == (JobStatus.RUNNING, [(1, CHARGED, PRICE)])


def test_a_job_keeps_the_images_that_were_not_removed() -> None:
    job = World(removed=[1]).generated()
    assert job.status is JobStatus.SUCCEEDED
    assert [record.removed_for_safety for record in job.images] == [False, True]


def test_a_job_of_which_nothing_is_left_has_failed() -> None:
    job = World(removed=[0, 1]).generated()
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "content_policy"
    assert charges(job) == [(1, CHARGED, PRICE)]


def test_an_end_is_written() -> None:
    world = World()
    assert world.executor.finish(world.generated())
    assert world.stored.status is JobStatus.SUCCEEDED


def test_a_canceled_jobs_images_are_thrown_away_and_its_charge_is_corrected() -> None:
    world = World()
    ended = world.generated()
    world.jobs.save(world.job.cancel(now=NOON))
    assert not world.executor.finish(ended)
    assert (world.stored.status, world.stored.images) == (JobStatus.CANCELED, ())
    assert charges(world.stored) == [(1, CHARGED, PRICE)]
    assert not world.images.objects


def test_a_job_canceled_in_a_later_attempt_records_the_charges_of_that() -> None:
    world = World()
    ended = world.generated()
    later = world.job.cancel(now=NOON).model_copy(update={"attempt": 2, "version": 2})
    world.jobs.items["job-1"] = later
    assert not world.executor.finish(ended)
    assert charges(world.stored) == [(1, UNKNOWN, PRICE)]
    assert not world.images.objects


def test_a_deleted_jobs_images_are_thrown_away() -> None:
    world = World()
    ended = world.generated()
    world.jobs.save(world.job.cancel(now=NOON))
    world.jobs.delete(world.job, now=NOON)
    assert not world.executor.finish(ended)
    assert not world.images.objects


def test_a_job_deleted_between_two_reads_is_not_changed() -> None:
    world = World()
    ended = world.generated()
    world.jobs.save(world.job.cancel(now=NOON))
    look = world.jobs.get

    def look_and_delete(job_id: str, **arguments: Any) -> Job:
        found = look(job_id, **arguments)
        world.jobs.delete(found, now=NOON)
        return found

    world.jobs.get = look_and_delete  # type: ignore[method-assign] # a race, played
    assert not world.executor.finish(ended)
    assert not world.images.objects
    assert not world.jobs.items


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job.requeue(counted=True).start(now=NOON, seconds=60, quote=QUOTE),
        lambda job: job.fail(Sd3Error("given up"), now=NOON),
        lambda job: job.requeue(counted=True),
    ],
)
def test_a_job_that_another_has_taken_over_is_not_written(change: Callable[[Job], Job]) -> None:
    world = World()
    ended = world.generated()
    taken = world.jobs.save(change(world.job))
    with pytest.raises(LeaseLostError):
        world.executor.finish(ended)
    assert world.stored is taken
    assert len(world.images.objects) == 2  # the same images are the other's, too


@pytest.mark.parametrize("counted", [True, False])
def test_a_job_waits_again_with_its_charges(counted: bool) -> None:
    again = World().job.charge_unknown().requeue(counted=counted)
    assert (again.status, again.lease_until) == (JobStatus.QUEUED, None)
    assert (again.attempt, again.failures) == (1, int(counted))
    assert again.charges == (Charge(attempt=1, upstream="fake", outcome=UNKNOWN, micros=PRICE),)
