"""What the use cases measure: each event once, whichever entrypoint its job came by."""

from datetime import timedelta
from typing import IO, Any, Final

import pytest

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.client import ClientLimits, RequestContext
from sd3.domain.generation import GenerationTask, UpstreamResult
from sd3.domain.inbox import InboxOrigin
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    BudgetExceededError,
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.services.notifications import JobEventPublisher
from tests.support.factories.waiting_job import World, taken
from tests.support.fakes.changing_jobs import job, running
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeMetrics,
    FakeTime,
    FakeUpstream,
    fallback,
    make_executor,
    make_service,
    make_submission,
)

OF_FAKE: Final = {"upstream": "fake"}


class SlowUpstream(FakeUpstream):
    """Takes three seconds for each call."""

    def __init__(self, clock: FakeTime, **values: Any) -> None:
        super().__init__(**values)
        self.clock = clock

    def generate(self, task: GenerationTask) -> UpstreamResult:
        self.clock.advance(3)
        return super().generate(task)


class SlowImages(FakeImages):
    """Takes half a second to store what was generated."""

    clock: FakeTime

    def save_all(self, *arguments: Any) -> Any:
        self.clock.advance(0.5)
        return super().save_all(*arguments)


def generate(metrics: FakeMetrics, upstream: FakeUpstream, **fakes: Any) -> None:
    service = make_service(upstream=upstream, metrics=metrics, **fakes)
    service.generate(GenerateRequest(prompt="a fox"), RequestContext("ann", "job-1", 60))


# ---- Attempts ------------------------------------------------------------------------------------


def test_an_attempt_is_divided_into_the_upstreams_time_and_ours() -> None:
    metrics, clock, images = FakeMetrics(), FakeTime(), SlowImages()
    images.clock = clock
    generate(metrics, SlowUpstream(clock), clock=clock, images=images)
    assert metrics.added == [("UpstreamMs", 3000, {}), ("OwnMs", 500, {})]
    assert metrics.ids == {("ann", "job-1")}


@pytest.mark.parametrize("error", [UpstreamTimeoutError("slow"), UpstreamRefusedError("no")])
def test_an_attempt_that_fails_is_measured_as_well(error: Sd3Error) -> None:
    metrics, clock = FakeMetrics(), FakeTime()
    with pytest.raises(Sd3Error):
        generate(metrics, SlowUpstream(clock, errors=[error]), clock=clock)
    assert metrics.of("UpstreamMs") == [(3000, {})]
    assert metrics.of("OwnMs") == [(0, {})]


def test_a_workers_attempts_are_measured_each() -> None:
    world = World(FakeUpstream(errors=[UpstreamFailedError("broke")]))
    world.work()
    world.work()
    assert len(world.metrics.of("UpstreamMs")) == len(world.metrics.of("OwnMs")) == 2


def test_an_attempt_whose_end_cannot_be_written_is_measured() -> None:
    world = World()
    world.images.error = StorageError("full")
    world.work()
    assert len(world.metrics.of("OwnMs")) == 1


# ---- The queue -----------------------------------------------------------------------------------


def test_a_jobs_wait_in_the_queue_is_measured_at_its_first_attempt_only() -> None:
    world = World(FakeUpstream(errors=[UpstreamUnavailableError("busy")]))
    world.clock.advance(7)
    world.work()
    world.clock.advance(100)
    world.work()
    assert world.metrics.of("QueueWaitMs") == [(7000, {})]


def test_a_redriven_jobs_wait_is_measured_from_the_redrive() -> None:
    world = World(status=JobStatus.FAILED, attempt=3)
    world.clock.advance(3600)
    world.jobs.save(world.job.redrive(now=NOON + timedelta(seconds=3600)))
    world.clock.advance(4)
    world.work()
    assert world.metrics.of("QueueWaitMs") == [(4000, {})]


def test_a_job_that_was_never_queued_has_not_waited() -> None:
    world = World(**taken())
    world.clock.advance(71)
    world.work()
    assert world.metrics.of("QueueWaitMs") == []


def test_a_worker_that_comes_second_measures_no_wait() -> None:
    world = World()
    read = world.job
    world.jobs.get = lambda *_, **__: read  # type: ignore[method-assign] # both have read it
    world.work()
    world.work()
    assert len(world.metrics.of("QueueWaitMs")) == 1


def test_a_queued_jobs_age_is_measured_at_each_receive() -> None:
    world = World(FakeUpstream(errors=[UpstreamUnavailableError("busy")] * 3))
    ages = []
    for _ in range(3):
        world.work()
        ages.append((world.clock.time().now() - NOON).total_seconds())
    assert ages[0] < ages[1] < ages[2]
    assert [age for age, _ in world.metrics.of("QueueAgeSeconds")] == ages


# ---- What upstreams did --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UpstreamRefusedError("credit"), UpstreamKeyError("no key")])
def test_a_rejection_is_counted_by_its_upstream(error: Sd3Error) -> None:
    metrics = FakeMetrics()
    with pytest.raises(UpstreamRefusedError):
        generate(metrics, FakeUpstream(errors=[error]))
    assert metrics.of("UpstreamRefused") == [(1, OF_FAKE)]


def test_a_failure_is_counted_even_if_another_upstream_generates() -> None:
    class Other(FakeUpstream):
        name = "other"

    metrics = FakeMetrics()
    refusing = FakeUpstream(errors=[UpstreamRefusedError("no credit")])
    executor = make_executor(
        jobs=FakeJobs(), generator=fallback(refusing, Other()), metrics=metrics
    )
    assert executor.execute(running(), None, until=1060).job.status is JobStatus.SUCCEEDED
    assert metrics.of("UpstreamRefused") == [(1, OF_FAKE)]


def test_an_open_circuit_breaker_is_measured_by_its_upstream() -> None:
    metrics, generator = (
        FakeMetrics(),
        fallback(FakeUpstream(errors=[UpstreamFailedError("broke")])),
    )
    generator.members[0].limiter.release = lambda *_: 5.0  # type: ignore[method-assign]
    make_executor(jobs=FakeJobs(), generator=generator, metrics=metrics).execute(
        running(), None, until=1060
    )
    assert metrics.of("BreakerOpenMs") == [(5000, OF_FAKE)]


def test_an_unknown_outcome_is_counted_for_each_attempt() -> None:
    world = World(FakeUpstream(errors=[UpstreamFailedError("broke")] * 2))
    for _ in range(3):
        world.work()
    assert world.metrics.of("UpstreamUnknownOutcome") == [(1, OF_FAKE)] * 2


def test_what_failed_for_certain_is_no_unknown_outcome() -> None:
    world = World(FakeUpstream(errors=[UpstreamUnavailableError("busy")]))
    world.work()
    assert world.metrics.of("UpstreamUnknownOutcome") == []
    assert world.metrics.of("UpstreamRefused") == []


@pytest.mark.parametrize("failures", [0, 4])
def test_an_attempt_whose_function_died_has_an_unknown_outcome(failures: int) -> None:
    world = World(**taken(failures=failures))
    world.clock.advance(71)
    world.work()
    assert world.metrics.of("UpstreamUnknownOutcome") == [(1, OF_FAKE)]


def test_a_job_that_the_queue_gives_up_has_an_unknown_outcome() -> None:
    world = World(**taken())
    world.worker.give_up("job-1", Sd3Error("The queue has given up."))
    assert world.metrics.of("UpstreamUnknownOutcome") == [(1, OF_FAKE)]


# ---- Budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("respond_async", [True, False])
def test_a_request_beyond_the_budget_is_counted(respond_async: bool) -> None:
    metrics = FakeMetrics()
    submission = make_submission(jobs=FakeJobs(), metrics=metrics)
    context = RequestContext(
        "ann",
        "job-1",
        60,
        respond_async=respond_async,
        limits=ClientLimits(daily_budget_micros=20_000),
    )
    with pytest.raises(BudgetExceededError):
        submission.submit(GenerateRequest(prompt="a fox"), context)
    assert metrics.added == [("BudgetRejected", 1, {})]
    assert metrics.ids == {("ann", "job-1")}


# ---- Ends ----------------------------------------------------------------------------------------


def charge(upstream: str, micros: int, *, attempt: int = 1) -> Charge:
    outcome = ChargeOutcome.CHARGED if micros else ChargeOutcome.FREE
    return Charge(attempt=attempt, upstream=upstream, outcome=outcome, micros=micros)


class Publisher:
    """The use case of a job's end over fakes, of which one can fail."""

    def __init__(self, *, failing: str = "") -> None:
        self.metrics, self.failing = FakeMetrics(), failing
        self.use_case = JobEventPublisher(
            bus=self, results=self, metrics=self.metrics, bucket="images"
        )

    def put(self, detail: str) -> None:
        self._fail("bus")

    def write_lines(self, origin: InboxOrigin, file: IO[bytes]) -> bool:
        raise NotImplementedError

    def write(self, origin: InboxOrigin, body: str, *, first: bool) -> bool:
        self._fail("answers")
        return True

    def _fail(self, what: str) -> None:
        if what == self.failing:
            raise StorageError(what)


def ended(**changes: Any) -> Job:
    return job(status=JobStatus.SUCCEEDED, completed_at=NOON, attempt=1, **changes)


def test_an_end_is_counted_with_its_images_and_its_cost_by_upstream() -> None:
    publisher = Publisher()
    images = (
        ImageRecord(index=0, seed=1, key="0.jpg"),
        ImageRecord(index=1, seed=2, key="1.jpg"),
        ImageRecord(index=2, seed=3, removed_for_safety=True),
    )
    charges = (charge("octoai", 0), charge("stability", 20), charge("stability", 10, attempt=2))
    publisher.use_case.publish(ended(images=images, charges=charges))
    assert publisher.metrics.added == [
        ("JobsEnded", 1, {"status": "succeeded"}),
        ("ImagesGenerated", 2, {}),
        ("ImagesRemoved", 1, {}),
        ("CostMicros", 0, {"upstream": "octoai"}),
        ("CostMicros", 30, {"upstream": "stability"}),
    ]
    assert publisher.metrics.ids == {("ann", "job-1")}


def test_a_failure_is_counted_by_its_code() -> None:
    publisher = Publisher()
    publisher.use_case.publish(running().fail(UpstreamUnavailableError("busy"), now=NOON))
    assert publisher.metrics.of("JobsFailed") == [(1, {"code": "upstream_unavailable"})]


def test_images_of_a_job_that_was_canceled_meanwhile_are_none() -> None:
    publisher = Publisher()
    publisher.use_case.publish(running().cancel(now=NOON))
    assert publisher.metrics.added == [
        ("JobsEnded", 1, {"status": "canceled"}),
        ("ImagesGenerated", 0, {}),
        ("ImagesRemoved", 0, {}),
        ("CostMicros", 30_000, OF_FAKE),
    ]


def test_what_a_job_cost_before_a_redrive_is_not_counted_again() -> None:
    publisher = Publisher()
    failed = running(attempt=2).charge([charge("fake", 30)]).fail(Sd3Error("no"), now=NOON)
    publisher.use_case.publish(failed)
    again = failed.redrive(now=NOON).cancel(now=NOON)
    publisher.use_case.publish(again)
    assert publisher.metrics.of("CostMicros") == [(30, OF_FAKE)]
    assert len(publisher.metrics.of("JobsEnded")) == 2


@pytest.mark.parametrize("failing", ["bus", "answers"])
def test_an_end_that_is_to_be_published_again_is_not_counted_yet(failing: str) -> None:
    publisher = Publisher(failing=failing)
    origin = InboxOrigin(result_key="ann/inbox/x.json", sequencer="01")
    with pytest.raises(StorageError):
        publisher.use_case.publish(ended(inbox=origin))
    assert publisher.metrics.added == []
