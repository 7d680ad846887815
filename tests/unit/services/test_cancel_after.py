"""Cancel-After: what has not begun in time is canceled, and nothing that has cost something."""

from datetime import timedelta
from typing import Any, Final

import pytest

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.client import RequestContext
from sd3.domain.image import Image
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import GoneError, UpstreamTimeoutError, UpstreamUnavailableError
from tests.support.factories.waiting_job import World, taken
from tests.support.fakes.changing_jobs import ChangingJobs, job, serve
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeTime,
    FakeUpstream,
    make_service,
    sample_image,
)

CANCELED, QUEUED, SUCCEEDED = JobStatus.CANCELED, JobStatus.QUEUED, JobStatus.SUCCEEDED
IN_A_MINUTE: Final[dict[str, Any]] = {"cancel_at": NOON + timedelta(minutes=1)}


def seen(one: Job, *, after: float, wait: float = 0) -> Job:
    """Return a job as its client sees it so many seconds after noon."""
    clock = FakeTime()
    clock.advance(after)
    service = serve(ChangingJobs(one), clock=clock)
    return service.get_job("job-1", client_id="ann", wait_seconds=wait).job


@pytest.mark.parametrize(("after", "status"), [(59.999, QUEUED), (60, CANCELED)])
def test_a_reader_sees_the_end_as_soon_as_the_time_is_over(after: float, status: JobStatus) -> None:
    found = seen(job(**IN_A_MINUTE), after=after)
    assert (found.status, found.cost_micros) == (status, 0)


def test_a_reader_who_waits_is_told_when_the_time_is_over() -> None:
    found = seen(job(**IN_A_MINUTE), after=50, wait=20)
    assert (found.status, found.completed_at) == (CANCELED, NOON + timedelta(minutes=1))


def test_what_has_begun_or_has_cost_something_goes_on() -> None:
    assert seen(job(**taken(), **IN_A_MINUTE), after=300).status is JobStatus.RUNNING
    paid = [Charge(attempt=1, upstream="fake", outcome=ChargeOutcome.UNKNOWN, micros=1)]
    assert seen(job(charges=paid, **IN_A_MINUTE), after=300).status is QUEUED


def test_a_job_that_begins_while_its_time_runs_out_is_seen_to_run() -> None:
    jobs, clock = ChangingJobs(job(**IN_A_MINUTE)), FakeTime()
    clock.advance(61)
    quote = taken()["quote"]
    jobs.before_cancel = lambda: jobs.save(
        jobs.items["job-1"].start(now=NOON, seconds=60, quote=quote)
    )
    found = serve(jobs, clock=clock).get_job("job-1", client_id="ann").job
    assert found.status is JobStatus.RUNNING


def test_the_worker_calls_nobody_for_a_job_whose_time_is_over() -> None:
    world = World(**IN_A_MINUTE, init_image_key="ann/job-1/init.jpg")
    world.images.objects["ann/job-1/init.jpg"] = sample_image()
    world.clock.advance(60)
    assert world.work() is None
    assert (world.job.status, world.upstream.calls) == (CANCELED, [])
    assert not world.images.objects


def test_the_time_can_end_while_the_worker_reads_the_init_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(**IN_A_MINUTE, init_image_key="ann/job-1/init.jpg")

    def read(_: str) -> Image:
        world.clock.advance(1)
        return sample_image()

    monkeypatch.setattr(world.images, "get_init_image", read)
    world.clock.advance(59.5)
    assert world.work() is None
    assert (world.job.status, world.upstream.calls) == (CANCELED, [])


def test_the_worker_begins_in_the_last_moment() -> None:
    world = World(**IN_A_MINUTE)
    world.clock.advance(59)
    assert world.work() is None
    assert world.job.status is SUCCEEDED


def test_a_job_that_waits_for_a_busy_upstream_is_canceled_in_time() -> None:
    busy = UpstreamUnavailableError("busy", retry_after=500)
    world = World(FakeUpstream(errors=[busy]), **IN_A_MINUTE)
    wait = world.work()
    assert wait
    assert wait <= 61
    assert world.work(receives=2) is None
    assert (world.job.status, len(world.upstream.calls)) == (CANCELED, 1)


def test_a_backoff_keeps_no_job_whose_time_is_over() -> None:
    world = World(**IN_A_MINUTE, not_before=NOON + timedelta(hours=1))
    world.clock.advance(60)
    assert world.work() is None
    assert world.job.status is CANCELED


def test_what_may_be_paid_is_tried_again_after_the_time() -> None:
    world = World(FakeUpstream(errors=[UpstreamTimeoutError("slow")]), **IN_A_MINUTE)
    world.work()
    world.clock.advance(120)
    assert world.work(receives=2) is None
    assert world.job.status is SUCCEEDED


def test_an_operator_who_puts_a_job_back_gives_it_new_time() -> None:
    failed = job(**IN_A_MINUTE).fail(UpstreamUnavailableError("down"), now=NOON)
    assert failed.redrive(now=NOON + timedelta(hours=1)).cancel_at is None


def context(**changes: Any) -> RequestContext:
    minute = timedelta(minutes=1)
    return RequestContext("ann", "job-1", 60, cancel_after=minute)._replace(**changes)


def test_a_repeated_call_finds_the_first_ones_time_and_its_end() -> None:
    jobs, clock = FakeJobs(), FakeTime()
    service = make_service(jobs=jobs, clock=clock, images=FakeImages())
    first = context(respond_async=True, idempotency_key="a")
    assert (
        service.generate(GenerateRequest(prompt="a fox"), first).cancel_at
        == IN_A_MINUTE["cancel_at"]
    )
    again = first._replace(job_id="job-2", cancel_after=timedelta(hours=1))
    assert service.generate(GenerateRequest(prompt="a fox"), again).id == "job-1"
    clock.advance(60)
    ended = service.generate(GenerateRequest(prompt="a fox"), again)
    assert (ended.id, ended.status, ended.cancel_at) == ("job-1", CANCELED, None)


def test_a_caller_that_is_held_is_told_that_the_job_was_canceled() -> None:
    clock = FakeTime()
    service = make_service(jobs=FakeJobs(), clock=clock)
    held = context(
        respond_async=True,
        cancel_after=timedelta(seconds=5),
        hold_until=NOON + timedelta(seconds=26),
    )
    with pytest.raises(GoneError):
        service.generate(GenerateRequest(prompt="a fox"), held)
    assert clock.slept == 5


def test_what_is_answered_at_once_has_begun() -> None:
    answered = make_service().generate(GenerateRequest(prompt="a fox"), context())
    assert answered.status is SUCCEEDED
