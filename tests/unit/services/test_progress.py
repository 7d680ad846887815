"""What clients are told of an open job: its place, its images, when it ends, over fakes."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.generation import GenerationTask
from sd3.domain.job import SINGLE, Job, JobStatus
from sd3.domain.progress import NOTHING_KNOWN, ImagesDone, JobProgress, Pace
from sd3.domain.request import GenerateRequest
from sd3.errors import StorageError, UpstreamFailedError, UpstreamUnavailableError
from sd3.services.progress import ProgressRecorder
from sd3.settings import Rate, UpstreamSettings
from sd3.upstreams.dispatch import RateLimitedUpstream
from sd3.upstreams.fallback import Fallback
from tests.support.factories.waiting_job import World
from tests.support.fakes.changing_jobs import END, ChangingJobs, job, running, serve
from tests.support.fakes.ports import (
    NOON,
    FakeProgress,
    FakeTime,
    FakeUpstream,
    UnlimitedRateLimiter,
    make_worker,
)

FOUR = {"prompt": "a fox", "num_images": 4}
BEGUN = {"created_at": NOON - timedelta(minutes=1), "started_at": NOON}


def told(*jobs: Job, after: float = 0, **known: Any) -> JobProgress:
    """Return what is told of the last of some jobs, so many seconds after noon."""
    stored, clock = ChangingJobs(*jobs), FakeTime()
    progress = FakeProgress(stored)
    progress.paces = known.get("paces", [("single", Pace(8, 2))])
    progress.counted = known.get("counted", [])
    clock.advance(after)
    return serve(stored, clock=clock, progress=progress).progress_of(jobs[-1])


def earlier(number: int) -> list[Job]:
    return [job(f"job-{n}", created_at=NOON - timedelta(seconds=n + 1)) for n in range(number)]


def test_a_job_that_waits_ends_after_those_before_it_and_its_own_time() -> None:
    assert told(*earlier(3), job("mine")) == JobProgress(3, 3 * 2 + 8)
    assert told(job("mine")) == JobProgress(0, 8)
    assert told(*earlier(3), job("mine"), paces=[]) == JobProgress(3, None)
    assert told(job("mine", not_before=NOON + timedelta(seconds=40)), after=10).eta_seconds == 38


def test_a_running_job_ends_as_others_did_until_it_takes_longer() -> None:
    assert told(running(**BEGUN), after=3) == JobProgress(eta_seconds=5)
    assert told(running(**BEGUN), after=9) == NOTHING_KNOWN
    assert told(running(**BEGUN), after=3, paces=[]) == NOTHING_KNOWN


def test_a_job_of_several_images_ends_when_the_others_took_as_long() -> None:
    several = running(**BEGUN, request=FOUR)
    begun = told(several, after=3)
    assert begun == JobProgress(eta_seconds=5, images=ImagesDone(0, 4))
    one = told(several, after=30, counted=[("job-1", 1, 1)])
    assert one == JobProgress(eta_seconds=90, images=ImagesDone(1, 4))
    of_an_earlier_attempt = told(several, after=3, counted=[("job-1", 0, 3)])
    assert of_an_earlier_attempt == begun


def test_nobody_counts_the_images_of_what_is_answered_at_once() -> None:
    at_once = running(started_at=NOON, request=FOUR)
    assert told(at_once, after=3, counted=[("job-1", 1, 1)]) == JobProgress(eta_seconds=5)


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_nothing_is_told_of_a_job_that_has_ended(status: str) -> None:
    assert told(job(**END | {"status": JobStatus(status)})) == NOTHING_KNOWN


@pytest.mark.parametrize("waits", [True, False])
def test_a_job_is_read_although_its_progress_cannot_be(waits: bool) -> None:
    stored = ChangingJobs(job() if waits else running(**BEGUN))
    progress = FakeProgress(stored, error=StorageError("no table"))
    service = serve(stored, progress=progress)
    response = service.to_response(service.get_job("job-1", client_id="ann").job)
    assert (response.queue_position, response.eta_seconds, response.progress) == (None,) * 3


def test_progress_wakes_nobody_who_waits_for_a_change() -> None:
    jobs, clock = ChangingJobs(job()), FakeTime()
    service = serve(jobs, clock=clock)
    tag = service.get_job("job-1", client_id="ann").etag.removeprefix("W/")
    jobs.create(job("before", created_at=NOON - timedelta(seconds=5)))
    found = service.get_job("job-1", client_id="ann", wait_seconds=20, known_tags=frozenset([tag]))
    assert found.not_modified
    assert clock.slept == 20
    assert service.progress_of(found.job).queue_position == 1


class OneByOne(FakeUpstream):
    """An upstream that is asked one image a call, each of which takes three seconds."""

    images_per_call = 1

    def __init__(self, clock: FakeTime, **script: Any) -> None:
        super().__init__(**script)
        self.clock = clock

    def generate(self, task: GenerationTask) -> Any:
        self.clock.advance(3)
        return super().generate(task)


def worked(num_images: int, *, clock: FakeTime, progress: FakeProgress, **script: Any) -> None:
    """Have a worker work on a job of some images."""
    request = GenerateRequest(prompt="a fox", num_images=num_images)
    progress.jobs.create(job(request=request, seeds=tuple(range(num_images)), created_at=NOON))
    clock.advance(1)
    worker = make_worker(
        upstream=OneByOne(clock, **script), jobs=progress.jobs, clock=clock, progress=progress
    )
    worker.process("job-1", seconds=300, sent_at=NOON, receives=1)


def test_a_worker_counts_the_images_of_a_job_that_are_generated() -> None:
    progress = FakeProgress()
    worked(3, clock=FakeTime(), progress=progress, errors=[UpstreamFailedError("500")])
    assert [done for _, _, done in progress.counted] == [1, 2]
    assert {(job_id, attempt) for job_id, attempt, _ in progress.counted} == {("job-1", 1)}


def test_a_single_image_is_not_counted() -> None:
    progress = FakeProgress()
    worked(1, clock=FakeTime(), progress=progress)
    assert not progress.counted
    assert progress.paces


def test_a_count_that_cannot_be_written_ends_no_job() -> None:
    progress = FakeProgress(error=StorageError("no table"))
    worked(3, clock=FakeTime(), progress=progress)
    assert progress.jobs.items["job-1"].status is JobStatus.SUCCEEDED


def test_images_are_counted_every_two_seconds_at_the_most() -> None:
    progress, clock = FakeProgress(), FakeTime()
    recorder = ProgressRecorder(progress, clock=clock.time(), concurrency={SINGLE: 2})
    count = recorder.counter(running(**BEGUN, request=FOUR))
    for seconds in (0.0, 1.0, 1.5, 0.1):
        clock.advance(seconds)
        count(1)
    assert [done for _, _, done in progress.counted] == [1, 3]


def test_the_pace_is_an_average_that_follows_the_newest_jobs() -> None:
    progress, clock = FakeProgress(), FakeTime()
    recorder = ProgressRecorder(progress, clock=clock.time(), concurrency={SINGLE: 2})
    recorder.note_end(job(), seconds=10, apart=0)
    recorder.note_end(job(), seconds=99, apart=0)  # too soon after the one before
    clock.advance(10)
    recorder.note_end(job(), seconds=20, apart=25)
    assert progress.paces == [("single", Pace(10, 5)), ("single", Pace(12, 9))]


def test_only_a_job_that_a_worker_has_ended_tells_its_pace() -> None:
    busy = World(FakeUpstream(errors=[UpstreamUnavailableError("busy")]))
    progress = FakeProgress(busy.jobs)
    worker = make_worker(
        upstream=busy.upstream, jobs=busy.jobs, clock=busy.clock, progress=progress
    )
    wait = worker.process("job-1", seconds=300, sent_at=NOON, receives=1)
    assert wait
    assert not progress.paces
    busy.clock.advance(wait)
    worker.process("job-1", seconds=300, sent_at=NOON, receives=2)
    assert len(progress.paces) == 1


def limited(rate: Rate | None, concurrency: int | None) -> RateLimitedUpstream:
    upstream = FakeUpstream()
    upstream.images_per_call = 2
    return RateLimitedUpstream(
        settings=UpstreamSettings(name="fake", rate=rate, concurrency=concurrency),
        make=lambda: upstream,
        make_limiter=lambda _: UnlimitedRateLimiter(),
        clock=lambda: 0.0,
        sleep=lambda _: None,
        jitter=lambda: 0.5,
    )


@pytest.mark.parametrize(
    ("bounds", "apart"),
    [
        ([(None, None)], 0),
        ([(Rate(6, 60), None)], 20),
        ([(None, 4)], 5),
        ([(Rate(6, 60), 4)], 20),
        ([(Rate(6, 60), None), (Rate(6, 60), None)], 10),
        ([(Rate(6, 60), None), (None, None)], 0),
    ],
)
def test_the_bounds_of_upstreams_hold_jobs_apart(
    bounds: list[tuple[Rate | None, int | None]], apart: float
) -> None:
    """A job of four images, which is two calls here, and takes ten seconds."""
    members = [limited(*each) for each in bounds]
    generator = Fallback(make_members=lambda: members)
    request = GenerateRequest.model_validate(FOUR)
    found = generator.seconds_apart(request, has_image=False, seconds=10)
    assert found == pytest.approx(apart)
