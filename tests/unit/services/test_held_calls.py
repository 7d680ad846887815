"""Clients that know no 202: they are held, and a repeated call adopts its job, over fakes."""

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import pytest

from sd3.domain.client import ClientLimits, RequestContext
from sd3.domain.job import IdempotencyRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    BudgetExceededError,
    ContentPolicyError,
    GoneError,
    InvalidRequestError,
    RateLimitedError,
    Sd3Error,
    StillRunningError,
    StorageError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.responses.models import JobResponse
from sd3.services.worker import Worker
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeTime,
    FakeUpstream,
    make_service,
    make_worker,
    sample_image,
)

HOLD: Final = 26
"""Seconds for which these callers are held."""

GATEWAY: Final = 29
"""Seconds after which the gateway answers 504 by itself."""


class World(FakeTime):
    """The service, its clock, and what happens at a time: `at` does something while others sleep.

    `call` is the call of an OctoAI SDK that gets here now.
    """

    def __init__(
        self, *, upstream: FakeUpstream | None = None, jobs: FakeJobs | None = None
    ) -> None:
        super().__init__()
        self.upstream = upstream or FakeUpstream()
        self.jobs, self.images = jobs or FakeJobs(), FakeImages()
        self.service = make_service(
            upstream=self.upstream, jobs=self.jobs, images=self.images, clock=self
        )
        self.worker: Worker = make_worker(
            upstream=self.upstream, jobs=self.jobs, images=self.images, clock=self
        )
        self._due: list[tuple[float, Callable[[], Any]]] = []
        self._calls = 0

    def at(self, seconds: float, act: Callable[[], Any]) -> None:
        self._due.append((seconds, act))

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        for due in [due for due in self._due if due[0] <= self.slept]:
            self._due.remove(due)
            due[1]()

    def work(self, job_id: str = "job-1") -> None:
        self.worker.process(job_id, seconds=300, sent_at=NOON, receives=1)

    def call(self, *, key: str | None = None, budget: int | None = None, **fields: Any) -> Any:
        self._calls += 1
        wanted = {"prompt": "a fox", "num_images": 8, "response_format": "b64_json"} | fields
        context = RequestContext(
            "ann",
            f"job-{self._calls}",
            seconds=120,
            idempotency_key=key,
            limits=ClientLimits(daily_budget_micros=budget),
            hold_until=NOON + timedelta(seconds=self.slept + HOLD),
        )
        return self.service.generate(GenerateRequest.from_values(wanted), context)

    def failing(self, **fields: Any) -> Sd3Error:
        with pytest.raises(Sd3Error) as caught:
            self.call(**fields)
        return caught.value


def images(response: JobResponse) -> list[bytes]:
    return [base64.b64decode(image.image_b64 or "") for image in response.images]


@pytest.mark.parametrize("after", [3, HOLD])
def test_a_held_call_gets_the_images_of_its_queued_job(after: float) -> None:
    world = World()
    world.at(after, world.work)
    response = world.call()
    assert response.status is JobStatus.SUCCEEDED
    assert images(response) == [sample_image(index).data for index in range(8)]
    assert world.slept <= HOLD


def test_a_call_that_knows_202_is_not_held() -> None:
    world = World()
    context = RequestContext("ann", "job-1", seconds=120)
    response = world.service.generate(GenerateRequest(prompt="a fox", num_images=8), context)
    assert (response.status, world.slept) == (JobStatus.QUEUED, 0)


def test_a_job_that_takes_too_long_is_an_error_with_its_id() -> None:
    world = World()
    error = world.failing()
    assert (type(error), error.job_id) == (StillRunningError, "job-1")
    assert HOLD <= world.slept < GATEWAY - 2


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ContentPolicyError("no"), 400),
        (UpstreamResponseError("cut off"), 502),
        (UpstreamUnavailableError("down"), 503),
        (InvalidRequestError((), message="not by this upstream"), 422),
        (StorageError("full"), 500),
    ],
)
def test_a_job_that_fails_meanwhile_is_its_own_error(failure: Sd3Error, status: int) -> None:
    world = World()

    def fail() -> None:
        job = world.jobs.items["job-1"]
        world.jobs.save(job.fail(failure, now=NOON + timedelta(seconds=world.slept)))

    world.at(3, fail)
    error = world.failing()
    assert (error.code, error.status) == (failure.code, status)
    assert (error.message, error.job_id) == (failure.message, "job-1")


@pytest.mark.parametrize("steps", [30, 200], ids=["while it runs", "while it waits"])
def test_a_job_that_is_canceled_is_gone_and_no_empty_success(steps: int) -> None:
    class Canceling(FakeUpstream):
        def generate(self, *args: Any) -> Any:
            world.service.cancel("job-1", client_id="ann")
            return super().generate(*args)

    world = World(upstream=Canceling())
    world.at(3, lambda: world.service.cancel("job-1", client_id="ann"))
    error = world.failing(num_images=1, steps=steps)
    assert (type(error), error.job_id) == (GoneError, "job-1")


def test_a_job_that_is_deleted_is_gone() -> None:
    world = World()
    world.at(3, lambda: world.service.delete("job-1", client_id="ann"))
    assert (world.failing().code, world.slept) == ("gone", 3)


def test_images_that_were_removed_for_safety_are_a_success_as_ever() -> None:
    world = World(upstream=FakeUpstream(removed=range(8)))
    world.at(3, world.work)
    response = world.call()
    assert all(image.removed_for_safety for image in response.images)


def test_a_call_that_repeats_its_key_is_held_for_the_open_job() -> None:
    world = World()
    assert world.failing(key="k").status == 504
    world.at(HOLD + 5, world.work)
    response = world.call(key="k")
    assert (response.id, len(images(response))) == ("job-1", 8)
    assert len(world.upstream.calls) == 1


def test_only_the_calls_that_repeat_a_key_without_end_are_not_held() -> None:
    world = World()
    seen = []
    for key in ("k", "k", "k", "k", None, None):
        before = world.slept
        error = world.failing(key=key)
        seen.append((error.status, error.job_id, world.slept - before))
        world.advance(GATEWAY - HOLD)
    held, refused = (504, "job-1", HOLD), (504, "job-1", 0)
    assert seen == [held, held, held, refused, (504, "job-5", HOLD), (504, "job-5", HOLD)]


# What an SDK repeats by itself, without a key.


@pytest.mark.parametrize("ends_at", [HOLD + 1, GATEWAY + 10, 2 * HOLD + 20])
def test_an_image_is_paid_once_however_often_the_sdk_repeats_a_504(ends_at: float) -> None:
    world = World()
    world.at(ends_at, world.work)
    response = None
    for _ in range(3):  # as the TypeScript SDK: at once, without a look at Retry-After
        with suppress(StillRunningError):
            response = response or world.call()
    assert response is not None
    assert (response.id, len(images(response))) == ("job-1", 8)
    assert list(world.jobs.items) == ["job-1"]
    assert len(world.upstream.calls) == 1


def test_the_gateways_own_504_leads_to_the_job_that_still_runs() -> None:
    """The function of the first call runs on after the gateway's cut, and its answer is lost."""
    answers = []

    class Slow(FakeUpstream):
        def generate(self, *args: Any) -> Any:
            world.advance(40)
            return super().generate(*args)

    world = World(upstream=Slow())
    world.at(GATEWAY, lambda: answers.append(world.failing(num_images=1)))
    world.call(num_images=1)
    [error] = answers  # time stood still for the upstream while this call was held
    assert (type(error), error.job_id) == (StillRunningError, "job-1")
    assert world.call(num_images=1).id == "job-1"
    assert len(world.upstream.calls) == 1


def test_a_slow_upstreams_job_is_adopted_while_the_queue_has_it() -> None:
    world = World(upstream=FakeUpstream(errors=[UpstreamTimeoutError("slow")]))
    assert world.failing(num_images=1).status == 504
    assert world.slept == HOLD  # no sooner, since the SDK repeats the call at once
    world.at(GATEWAY + 5, world.work)
    assert world.call(num_images=1).id == "job-1"


def test_a_table_that_fails_for_a_moment_ends_no_held_call() -> None:
    class Failing(FakeJobs):
        def get(self, *args: Any, **kwargs: Any) -> Any:
            if world.slept == 1:
                raise StorageError("for a moment")
            return super().get(*args, **kwargs)

    world = World(jobs=Failing())
    world.at(3, world.work)
    assert world.call().id == "job-1"


def test_a_job_that_has_been_answered_is_not_answered_again() -> None:
    world = World()
    seen = [world.call(num_images=1) for _ in range(3)]
    assert [response.id for response in seen] == ["job-1", "job-2", "job-3"]
    assert len({response.images[0].seed for response in seen}) == 3
    assert len(world.jobs.keys) == 1


def test_an_adopted_job_is_answered_once() -> None:
    world = World()
    world.at(GATEWAY + 1, world.work)
    world.failing()
    world.advance(GATEWAY - HOLD)
    assert world.call().id == "job-1"
    world.at(world.slept + 1, lambda: world.work("job-3"))
    assert world.call().id == "job-3"


def test_two_identical_calls_at_once_are_two_jobs_with_their_own_seeds() -> None:
    world = World()
    second: list[Sd3Error] = []
    world.at(1, lambda: second.append(world.failing()))
    assert world.failing().job_id == "job-1"
    assert [error.job_id for error in second] == ["job-2"]
    one, two = world.jobs.items.values()
    assert not set(one.seeds) & set(two.seeds)
    world.advance(GATEWAY - HOLD)  # both are repeated, and each gets one of the two
    world.work("job-1")
    world.work("job-2")
    assert {world.call().id, world.call().id} == {"job-1", "job-2"}
    assert len(world.upstream.calls) == 2


def test_identical_calls_without_end_are_jobs_of_their_own() -> None:
    world = World()
    for _ in range(12):
        world.jobs.keys = {
            name: record._replace(held_until=NOON + timedelta(hours=1))
            for name, record in world.jobs.keys.items()
        }
        world.failing()
    assert len(world.jobs.items) == 12


def test_a_failure_with_a_charge_answers_the_calls_that_repeat_it_at_once() -> None:
    world = World(upstream=FakeUpstream(errors=[UpstreamResponseError("cut off")]))
    errors = [world.failing(num_images=1) for _ in range(3)]
    assert [(error.code, error.job_id) for error in errors] == [("upstream_error", "job-1")] * 3
    assert len(world.upstream.calls) == 1
    world.advance(6)  # nobody repeats by itself that late
    assert world.call(num_images=1).id == "job-4"


def test_a_failure_that_cost_nothing_is_tried_again() -> None:
    world = World(upstream=FakeUpstream(errors=[UpstreamUnavailableError("busy")]))
    assert world.failing(num_images=1).status == 503
    assert world.call(num_images=1).id == "job-2"


@pytest.mark.parametrize(
    "change", [{"prompt": "a hare"}, {"seed": 5}, {"response_format": "url"}, {"key": "k"}]
)
def test_another_request_adopts_nothing(change: dict[str, Any]) -> None:
    world = World()
    world.failing()
    world.advance(GATEWAY)
    assert world.failing(**change).job_id == "job-2"


def test_a_canceled_job_and_one_that_was_left_are_not_adopted() -> None:
    world = World()
    world.failing()
    world.service.cancel("job-1", client_id="ann")
    assert world.failing().job_id == "job-2"
    world.advance(11 * 60)
    assert world.failing().job_id == "job-3"


@pytest.mark.parametrize(("num_images", "budget"), [(8, 240_000), (1, 30_000)])
def test_the_budget_that_the_job_has_taken_does_not_stop_its_adoption(
    num_images: int, budget: int
) -> None:
    world = World(upstream=FakeUpstream(errors=[UpstreamTimeoutError("slow")]))
    world.failing(num_images=num_images, budget=budget)
    world.advance(GATEWAY)
    assert world.failing(num_images=num_images, budget=budget).job_id == "job-1"


class _Limited(FakeJobs):
    """Refuses all requests after the first one, before it looks whether they have a job."""

    def __init__(self, *, is_remembered: bool) -> None:
        super().__init__()
        self.is_remembered = is_remembered

    def repeat_rejection(self, *_: Any, **__: Any) -> None:
        if self.items and self.is_remembered:
            raise BudgetExceededError("This request is over the budget.")

    def create_once(self, *arguments: Any, **named: Any) -> Job | IdempotencyRecord:
        if self.items:
            raise RateLimitedError("Too many requests.", retry_after=1)
        return super().create_once(*arguments, **named)


@pytest.mark.parametrize("is_remembered", [True, False], ids=["budget", "rate"])
def test_a_limit_that_is_reached_does_not_stop_an_adoption(is_remembered: bool) -> None:
    slow = FakeUpstream(errors=[UpstreamTimeoutError("slow")])
    world = World(upstream=slow, jobs=_Limited(is_remembered=is_remembered))
    world.failing(num_images=1)
    world.advance(GATEWAY)
    assert world.failing(num_images=1).job_id == "job-1"
    refused = world.failing(num_images=1, prompt="a hare")
    assert type(refused) is (BudgetExceededError if is_remembered else RateLimitedError)


def test_the_first_call_of_its_kind_reads_nothing_before_its_job_is_written() -> None:
    read: list[str] = []

    class Watched(FakeJobs):
        def find_idempotency_record(self, client_id: str, key: str, *, now: Any) -> Any:
            read.append(key)
            return super().find_idempotency_record(client_id, key, now=now)

    World(jobs=Watched()).call(num_images=1)
    assert read == []


def test_a_bug_that_scales_a_paid_image_ends_its_job_with_the_charge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise LookupError

    monkeypatch.setattr("sd3.domain.scaled_image.scaled", fail)
    world = World()
    request = GenerateRequest.from_values({"prompt": "a fox"})
    with pytest.raises(Sd3Error):
        world.service.generate(
            request, RequestContext("ann", "job-1", seconds=120, scaled_size=(64, 64))
        )
    job = world.jobs.items["job-1"]
    assert (job.status, [charge.outcome for charge in job.charges]) == ("failed", ["charged"])
