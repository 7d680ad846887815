"""Whatever a message is about, and whatever the upstream does: the job behind it ends."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.billing import ChargeOutcome
from sd3.domain.generation import GenerationTask, UpstreamResult
from sd3.domain.job import JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from tests.support.factories.waiting_job import World, code, taken
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeTime,
    FakeUpstream,
    make_worker,
    sample_image,
)

CHARGED, UNKNOWN, FREE = ChargeOutcome.CHARGED, ChargeOutcome.UNKNOWN, ChargeOutcome.FREE


def test_a_queued_job_is_generated() -> None:
    world = World()
    assert world.work() is None
    claimed, ended = world.jobs.writes[1:]
    assert (claimed.status, claimed.attempt) == (JobStatus.RUNNING, 1)
    assert claimed.lease_until == NOON + timedelta(seconds=310)
    assert (ended.status, world.charges) == (JobStatus.SUCCEEDED, [(1, CHARGED)])
    assert world.upstream.deadlines == [1000 + 300 - 15]
    assert world.upstream.init_images == [None]


def test_an_init_image_is_read_before_the_job_is_taken_and_in_the_callers_time() -> None:
    world = World(init_image_key="ann/job-1/init.jpg")
    init = sample_image()

    class SlowImages(FakeImages):
        def get_init_image(self, key: str) -> Any:
            assert (key, world.job.status) == ("ann/job-1/init.jpg", JobStatus.QUEUED)
            world.clock.advance(40)
            return init

    world.worker = make_worker(
        upstream=world.upstream, jobs=world.jobs, images=SlowImages(), clock=world.clock
    )
    assert world.work() is None
    assert world.upstream.init_images == [init]
    assert world.upstream.deadlines == [1000 + 300 - 15]
    assert world.jobs.writes[1].lease_until == NOON + timedelta(seconds=310)


@pytest.mark.parametrize(
    ("age", "wait"), [(-5, 2), (0, 2), (2, 2), (4, 4), (100, 100), (149, 149), (150, None)]
)
def test_a_message_is_given_time_for_its_job_to_be_written(age: float, wait: int | None) -> None:
    world = World()
    world.clock.advance(age)
    assert world.work("job-2") == wait


def test_a_message_that_is_ahead_of_its_job_by_an_instant_is_not_sent_back() -> None:
    world = World()
    late = world.jobs.items.pop("job-1")

    class SlowlyWritten(FakeTime):
        def advance(self, seconds: float) -> None:
            super().advance(seconds)
            world.jobs.items["job-1"] = late

    clock = SlowlyWritten()
    world.worker = make_worker(upstream=world.upstream, jobs=world.jobs, clock=clock)
    assert world.work() is None
    assert world.job.status is JobStatus.SUCCEEDED
    assert clock.slept < 0.1


def test_a_message_of_a_deleted_job_is_done() -> None:
    world = World(status=JobStatus.FAILED)
    world.jobs.delete(world.job, now=NOON)
    assert world.work() is None


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_an_expired_job_is_not_generated(status: JobStatus) -> None:
    world = World(status=status)
    world.clock.advance(31 * 86_400)
    assert world.work() is None
    world.worker.give_up("job-1", StorageError("down"))
    assert not world.upstream.calls
    assert len(world.jobs.writes) == 1


@pytest.mark.parametrize("status", [status for status in JobStatus if status.is_terminal])
def test_a_message_of_an_ended_job_is_done(status: JobStatus) -> None:
    world = World(status=status)
    assert world.work() is None
    assert not world.upstream.calls
    assert len(world.jobs.writes) == 1


def test_a_job_in_another_attempt_is_looked_at_when_that_must_have_ended() -> None:
    world = World(**taken())
    world.clock.advance(20.5)
    assert world.work() == 50
    assert not world.upstream.calls


def test_a_job_whose_function_died_is_generated_again_with_a_charge_of_unknown_outcome() -> None:
    world = World(**taken())
    world.clock.advance(71)
    assert world.work() is None
    assert (world.job.status, world.job.attempt) == (JobStatus.SUCCEEDED, 2)
    assert (world.job.failures, world.charges) == (1, [(1, UNKNOWN), (2, CHARGED)])
    assert world.job.seeds == (7,)


def test_a_job_whose_functions_died_five_times_is_given_up() -> None:
    world = World(**taken(failures=4, attempt=5))
    world.clock.advance(71)
    assert world.work() is None
    assert (world.job.status, code(world.job)) == (JobStatus.FAILED, "upstream_error")
    assert (world.job.failures, world.charges) == (5, [(5, UNKNOWN)])
    assert not world.upstream.calls


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UpstreamTimeoutError("slow"), UNKNOWN),
        (UpstreamFailedError("500"), UNKNOWN),
        (StorageError("no secret"), FREE),
    ],
)
def test_a_failure_that_may_pass_counts_and_is_tried_again(
    error: Sd3Error, outcome: ChargeOutcome
) -> None:
    world = World(FakeUpstream(errors=[error]))
    assert world.work() == 1 + 1  # half of 2^1 s, and the fraction rounded up
    assert (world.job.status, world.job.lease_until) == (JobStatus.QUEUED, None)
    assert (world.job.failures, world.charges) == (1, [(1, outcome)])
    assert world.work() is None
    assert (world.job.status, world.job.failures) == (JobStatus.SUCCEEDED, 1)
    assert world.charges == [(1, outcome), (2, CHARGED)]


def test_the_fifth_failure_is_the_last_with_its_own_reason() -> None:
    world = World(FakeUpstream(errors=[UpstreamFailedError("500")] * 9))
    assert [world.work() for _ in range(5)] == [2, 3, 5, 9, None]
    assert (world.job.status, code(world.job)) == (JobStatus.FAILED, "upstream_error")
    assert (world.job.attempt, len(world.job.charges)) == (5, 5)
    assert world.work() is None
    assert len(world.upstream.calls) == 5


@pytest.mark.parametrize(
    ("error", "wait"),
    [(UpstreamFailedError("500"), 2), (UpstreamUnavailableError("busy", retry_after=60), 62)],
)
def test_another_message_does_not_shorten_the_wait_for_an_attempt(
    error: Sd3Error, wait: int
) -> None:
    world = World(FakeUpstream(errors=[error]))
    assert world.work() == wait
    for _ in range(4):
        left = world.worker.process("job-1", seconds=300, sent_at=NOON, receives=1)
        assert left == wait + 1
    world.clock.advance(wait - 0.5)
    assert world.worker.process("job-1", seconds=300, sent_at=NOON, receives=1) == 1
    assert len(world.upstream.calls) == 1
    world.clock.advance(0.5)
    assert world.worker.process("job-1", seconds=300, sent_at=NOON, receives=1) is None
    assert (world.job.status, len(world.upstream.calls)) == (JobStatus.SUCCEEDED, 2)


@pytest.mark.parametrize(
    ("polled", "receives", "wait"),
    [(None, 1, 2), (None, 3, 5), (None, 40, 451), (7.5, 1, 9), (3600, 1, 3602), (86_400, 1, 21601)],
)
def test_throttling_waits_for_retry_after_and_jitter_and_is_no_attempt(
    polled: float | None, receives: int, wait: int
) -> None:
    error = UpstreamUnavailableError("busy", retry_after=polled)
    world = World(FakeUpstream(errors=[error]), failures=4)
    assert world.work(receives=receives) == wait
    assert (world.job.status, world.job.failures) == (JobStatus.QUEUED, 4)
    assert (world.job.attempt, world.charges) == (1, [(1, FREE)])


@pytest.mark.parametrize(
    ("polled", "receives", "wait"),
    [(None, 1, 1), (10, 1, 16), (100, 60, 111), (100, 61, 100 + 450 + 1)],
)
def test_our_own_rate_limit_is_waited_for_exactly_but_for_jitter(
    polled: float | None, receives: int, wait: int
) -> None:
    world = World(FakeUpstream(errors=[UpstreamRateLimitedError("full", retry_after=polled)]))
    assert world.work(receives=receives) == wait
    assert (world.job.status, world.job.failures) == (JobStatus.QUEUED, 0)


@pytest.mark.parametrize(
    ("redriven_at", "hours", "status"),
    [
        (None, 6, JobStatus.SUCCEEDED),
        (None, 6.001, JobStatus.FAILED),
        (NOON + timedelta(hours=8), 9, JobStatus.SUCCEEDED),
        (NOON + timedelta(hours=8), 14.001, JobStatus.FAILED),
    ],
)
def test_a_job_without_an_upstream_is_given_up_in_the_end(
    redriven_at: Any, hours: float, status: JobStatus
) -> None:
    world = World(redriven_at=redriven_at)
    world.clock.advance(hours * 3600)
    assert world.work() is None
    assert world.job.status is status
    if status is JobStatus.FAILED:
        assert (code(world.job), world.upstream.calls) == ("upstream_unavailable", [])


def test_a_job_fails_on_time_however_long_the_upstreams_retry_after_is() -> None:
    busy = UpstreamUnavailableError("busy", retry_after=900)
    world = World(FakeUpstream(errors=[busy]))
    world.clock.advance(6 * 3600 - 10)
    assert world.work() == 11
    assert world.work() is None
    assert code(world.job) == "upstream_unavailable"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ContentPolicyError("no"), FREE),
        (UpstreamRefusedError("no key"), FREE),
        (UpstreamResponseError("no image"), UNKNOWN),
    ],
)
def test_an_answer_that_would_be_the_same_again_is_final(
    error: Sd3Error, outcome: ChargeOutcome
) -> None:
    world = World(FakeUpstream(errors=[error]))
    assert world.work() is None
    assert (world.job.status, code(world.job)) == (JobStatus.FAILED, error.code)
    assert world.charges == [(1, outcome)]


def test_images_that_cannot_be_stored_are_generated_and_paid_again() -> None:
    world = World()
    world.images.error = StorageError("full")
    assert world.work() == 2
    world.images.error = None
    assert world.work() is None
    assert (world.job.status, world.charges) == (
        JobStatus.SUCCEEDED,
        [(1, CHARGED), (2, CHARGED)],
    )


def test_a_job_that_takes_longer_than_a_worker_lives_is_tried_once() -> None:
    class Slow(FakeUpstream):
        def generate(self, task: GenerationTask) -> UpstreamResult:
            world.clock.advance(285)
            return super().generate(task)

    request = GenerateRequest(prompt="a fox", num_images=16, steps=200)
    upstream = Slow(errors=[UpstreamTimeoutError("late")] * 5)
    world = World(upstream, request=request, seeds=tuple(range(1, 17)))
    assert world.work() == 2
    assert world.work() is None
    assert (world.job.status, code(world.job)) == (JobStatus.FAILED, "validation_error")
    assert (len(upstream.calls), world.charges) == (1, [(1, UNKNOWN)])


@pytest.mark.parametrize(("hours", "status"), [(23, "succeeded"), (25, "failed")])
def test_a_line_of_a_batch_may_wait_for_a_day(hours: int, status: str) -> None:
    world = World(batch={"id": "b", "line": 1, "part": 0}, expires_at=NOON + timedelta(days=30))
    world.clock.advance(hours * 3600)
    world.work()
    assert world.job.status == status
