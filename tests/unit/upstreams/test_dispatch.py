"""The calls to one upstream, behind its limiter."""

import threading
from typing import Any

import pytest

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    Sd3Error,
    StorageError,
    UnexpectedError,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnchargedError,
)
from sd3.settings import UpstreamSettings
from sd3.upstreams.dispatch import Calls, Permit, RateLimitedUpstream
from tests.support.factories.http_caller import FakeTime
from tests.support.factories.tasks import make_task
from tests.support.fakes.ports import UnlimitedRateLimiter, sample_image
from tests.support.fakes.scripted_upstream import Script, ScriptedRateLimiter, ScriptedUpstream

REQUEST = GenerateRequest(prompt="a fox")
BUSY = UpstreamUnavailableError("busy")
CHARGED, UNKNOWN, FREE = ChargeOutcome.CHARGED, ChargeOutcome.UNKNOWN, ChargeOutcome.FREE


class World:
    """An upstream behind a limiter, on a clock that does not wait; jitter is half of its most."""

    def __init__(
        self,
        upstream: ScriptedUpstream | None = None,
        limiter: UnlimitedRateLimiter | ScriptedRateLimiter | None = None,
        **settings: Any,
    ) -> None:
        self.upstream = upstream or ScriptedUpstream()
        self.limiter = limiter or UnlimitedRateLimiter()
        self.time = FakeTime()
        self.limited = RateLimitedUpstream(
            settings=UpstreamSettings(name=self.upstream.name, **settings),
            make=lambda: self.upstream,
            make_limiter=lambda _: self.limiter,
            clock=self.time.clock,
            sleep=self.time.sleep,
            jitter=lambda: 0.5,
        )

    def generate(self, *, tries: int = 3, seconds: float = 60, **options: Any) -> Calls:
        task = make_task(deadline=self.time.now + seconds, **options)
        return self.limited.generate(task, tries=tries)

    def charges(self, calls: Calls) -> list[tuple[str, int]]:
        charges = list(self.limited.charges(calls, REQUEST))
        assert {charge.upstream for charge in charges} <= {self.upstream.name}
        return [(charge.outcome, charge.micros) for charge in charges]


def kinds(calls: Calls) -> list[type]:
    return [type(calls.results[index]) for index in sorted(calls.results)]


@pytest.mark.parametrize(
    ("images_per_call", "seeds_of_calls"),
    [(1, [[7], [8], [9], [10], [11]]), (2, [[7, 8], [9, 10], [11]]), (16, [[7, 8, 9, 10, 11]])],
)
def test_seeds_are_called_for_in_as_many_calls_as_it_takes(
    images_per_call: int, seeds_of_calls: list[list[int]]
) -> None:
    world = World(ScriptedUpstream(images_per_call=images_per_call, model="v1"))
    calls = world.generate(seeds=[7, 8, 9, 10, 11])
    assert sorted(world.upstream.calls) == seeds_of_calls
    generated = [calls.results[index] for index in range(5)]
    assert generated == [
        GeneratedImage(seed, sample_image(), upstream="scripted", model="v1")
        for seed in range(7, 12)
    ]
    assert calls.milliseconds == 1234.5
    assert world.time.slept == []


def test_results_belong_to_the_requested_images() -> None:
    world = World()
    task = GenerationTask(REQUEST, {3: 7, 5: 8}, None, world.time.now + 60)
    calls = world.limited.generate(task, tries=1)
    assert {index: getattr(one, "seed", 0) for index, one in calls.results.items()} == {3: 7, 5: 8}


def test_init_image_is_handed_to_every_call() -> None:
    world, start = World(), sample_image()
    world.generate(seeds=[7, 8], init_image=start)
    assert world.upstream.init_images == [start, start]


def test_calls_are_concurrent() -> None:
    meeting = threading.Barrier(16, timeout=10)

    class Synchronized(ScriptedUpstream):
        def generate(self, task: GenerationTask) -> UpstreamResult:
            meeting.wait()
            return super().generate(task)

    assert len(World(Synchronized()).generate(seeds=range(1, 17)).results) == 16


def test_time_is_measured_where_the_upstream_does_not_report_it() -> None:
    world = World()

    class Slow(ScriptedUpstream):
        def generate(self, task: GenerationTask) -> UpstreamResult:
            world.time.now += 2.5
            return super().generate(task)

    world.upstream = Slow(milliseconds=0)
    assert world.generate().milliseconds == 2500


def test_a_busy_upstream_is_retried_with_backoff_until_it_generates() -> None:
    world = World(ScriptedUpstream(script={7: [BUSY, BUSY]}))
    calls = world.generate()
    assert kinds(calls) == [GeneratedImage]
    assert world.upstream.calls == [[7], [7], [7]]
    assert world.time.slept == [0.5, 1.0]
    assert world.limiter.outcomes == [[BUSY], [BUSY], [None]]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_upstream_that_stays_busy_is_given_up_after_so_many_tries(tries: int) -> None:
    world = World(ScriptedUpstream(always=BUSY))
    calls = world.generate(tries=tries)
    assert calls.results == {0: BUSY}
    assert len(world.upstream.calls) == tries
    assert world.time.slept == [0.5, 1.0][: tries - 1]


def test_only_throttled_calls_are_retried() -> None:
    throttled = UpstreamThrottledError("busy")
    script: Script = {8: [throttled], 9: [UpstreamFailedError("failed")], 10: [BUSY, BUSY]}
    world = World(ScriptedUpstream(script=script))
    calls = world.generate(seeds=[7, 8, 9, 10])
    assert kinds(calls) == [GeneratedImage, GeneratedImage, UpstreamFailedError, GeneratedImage]
    assert sorted(world.upstream.calls) == [[7], [8], [8], [9], [10], [10], [10]]


@pytest.mark.parametrize(
    "error",
    [
        UpstreamTimeoutError("slow"),
        UpstreamFailedError("failed"),
        UpstreamUnchargedError("failed"),
        UpstreamResponseError("cut off"),
        UpstreamRefusedError("no"),
        ContentPolicyError("no"),
        StorageError("no key"),
    ],
)
def test_other_errors_than_throttling_are_not_retried(error: Sd3Error) -> None:
    world = World(ScriptedUpstream(always=error))
    assert world.generate().results == {0: error}
    assert len(world.upstream.calls) == 1
    assert world.limiter.outcomes == [[error]]


@pytest.mark.parametrize(("seconds", "calls"), [(0.8, 1), (1.5, 2), (3, 3)])
def test_busy_upstream_is_given_up_when_too_little_time_is_left_for_a_call(
    seconds: float, calls: int
) -> None:
    world = World(ScriptedUpstream(always=BUSY))
    assert world.generate(seconds=seconds).results == {0: BUSY}
    assert len(world.upstream.calls) == calls


def test_images_not_yet_requested_get_the_error_that_ended_the_task() -> None:
    world = World(ScriptedUpstream(script={8: [BUSY] * 9}), ScriptedRateLimiter(2))
    calls = world.generate(seeds=[7, 8, 9, 10], tries=1)
    assert kinds(calls) == [GeneratedImage, *[UpstreamUnavailableError] * 3]
    assert [calls.results[index] for index in (1, 2, 3)] == [BUSY] * 3
    assert sorted(world.upstream.calls) == [[7], [8]]


def test_permits_that_were_missing_are_acquired_later() -> None:
    world = World(limiter=ScriptedRateLimiter(2, 1, 2))
    calls = world.generate(seeds=[7, 8, 9, 10, 11])
    assert kinds(calls) == [GeneratedImage] * 5
    assert isinstance(world.limiter, ScriptedRateLimiter)
    assert [requested for requested, _ in world.limiter.requested] == [5, 3, 2]
    assert [len(outcomes) for outcomes in world.limiter.outcomes] == [2, 1, 2]


def test_each_call_waits_for_its_slot() -> None:
    world = World(limiter=ScriptedRateLimiter(3, waits=(0.0, 1.5, 3.0)))
    world.generate(seeds=[7, 8, 9])
    assert sorted(world.time.slept) == [1.5, 3.0]


@pytest.mark.parametrize(("seconds", "patience"), [(300, 20), (25, 12.5), (10, 5), (3, 1.5)])
def test_a_slot_is_waited_for_during_half_of_the_time_at_most(
    seconds: float, patience: float
) -> None:
    world = World(limiter=ScriptedRateLimiter(1))
    world.generate(seconds=seconds)
    assert isinstance(world.limiter, ScriptedRateLimiter)
    assert world.limiter.requested == [(1, patience)]


@pytest.mark.parametrize("error", [UpstreamRateLimitedError("full"), StorageError("no table")])
def test_calls_that_the_limiter_rejects_get_its_error(error: Sd3Error) -> None:
    world = World(limiter=ScriptedRateLimiter(1, error=error))
    calls = world.generate(seeds=[7, 8, 9])
    assert [calls.results[index] for index in (1, 2)] == [error, error]
    assert world.upstream.calls == [[7]]
    assert world.charges(calls) == [(CHARGED, 1000)]


def test_the_rest_of_a_partly_generated_request_waits_for_its_slots() -> None:
    full = UpstreamRateLimitedError("full", retry_after=30)
    world = World(limiter=ScriptedRateLimiter(1, 0, 1, error=full))
    calls = world.generate(seeds=[7, 8], seconds=300)
    assert kinds(calls) == [GeneratedImage, GeneratedImage]
    assert world.time.slept == [30.5]
    assert isinstance(world.limiter, ScriptedRateLimiter)
    assert world.limiter.requested == [(2, 20), (1, 290), (1, 290 - 30.5)]


@pytest.mark.parametrize(("tries", "retry_after"), [(1, 30), (3, 290)])
def test_the_rest_is_left_to_the_next_upstream_or_for_want_of_time(
    tries: int, retry_after: float
) -> None:
    full = UpstreamRateLimitedError("full", retry_after=retry_after)
    world = World(limiter=ScriptedRateLimiter(1, error=full))
    calls = world.generate(seeds=[7, 8], tries=tries, seconds=300)
    assert kinds(calls) == [GeneratedImage, UpstreamRateLimitedError]
    assert world.time.slept == []


def test_a_closed_limiter_costs_nothing_and_records_no_call() -> None:
    world = World(limiter=ScriptedRateLimiter(error=UpstreamRateLimitedError("full")))
    calls = world.generate(seeds=[7, 8])
    assert (world.upstream.calls, world.limiter.outcomes) == ([], [])
    assert not calls.were_made
    assert world.charges(calls) == []


@pytest.mark.parametrize(
    ("script", "charges"),
    [
        ({}, [(CHARGED, 4000)]),
        ({7: [UpstreamTimeoutError("?")]}, [(CHARGED, 3000), (UNKNOWN, 1000)]),
        ({7: [UpstreamResponseError("?")], 9: [BUSY] * 3}, [(CHARGED, 2000), (UNKNOWN, 1000)]),
        ({seed: [UpstreamFailedError("?")] for seed in range(7, 11)}, [(UNKNOWN, 4000)]),
        ({seed: [UpstreamUnchargedError("?")] for seed in range(7, 11)}, [(FREE, 0)]),
        ({seed: [UpstreamRefusedError("no")] for seed in range(7, 11)}, [(FREE, 0)]),
    ],
)
def test_charges_are_summed_by_outcome(
    script: dict[int, list[Sd3Error]], charges: list[tuple[ChargeOutcome, int]]
) -> None:
    world = World(ScriptedUpstream(script=script, removed=[10]))
    assert world.charges(world.generate(seeds=[7, 8, 9, 10])) == charges


def test_price_that_is_set_is_the_price() -> None:
    world = World(price_micros=25)
    assert world.limited.price(REQUEST) == 25
    calls = world.generate(seeds=[7, 8])
    assert list(world.limited.charges(calls, REQUEST)) == [
        Charge(upstream="scripted", outcome=CHARGED, micros=50)
    ]
    assert World(price_micros=0).limited.price(REQUEST) == 0
    assert World().limited.price(REQUEST) == 1000


def test_upstream_and_limiter_are_created_once_at_their_first_use() -> None:
    created: list[str] = []

    def make() -> ScriptedUpstream:
        created.append("upstream")
        return ScriptedUpstream()

    def make_limiter(_: object) -> UnlimitedRateLimiter:
        created.append("limiter")
        return UnlimitedRateLimiter()

    time = FakeTime()
    world = RateLimitedUpstream(
        settings=UpstreamSettings(name="scripted"),
        make=make,
        make_limiter=make_limiter,
        clock=time.clock,
        sleep=time.sleep,
        jitter=lambda: 0.5,
    )
    assert created == []
    world.price(REQUEST)
    assert created == ["upstream"]
    for _ in range(2):
        world.generate(make_task(deadline=time.now + 60), tries=1)
    assert created == ["upstream", "limiter"]


@pytest.mark.parametrize(
    ("error", "images", "noted"),
    [
        (None, 16, [(0.1, False)]),
        (UpstreamTimeoutError("late"), 16, [(0.11, True)]),
        (UpstreamFailedError("500"), 16, []),
        (None, 2, []),
    ],
)
def test_the_time_of_long_calls_is_measured(
    error: Sd3Error | None, images: int, noted: list[tuple[float, bool]]
) -> None:
    class Measured(UnlimitedRateLimiter):
        def note_step(self, seconds: float, *, is_least: bool) -> None:
            steps.append((seconds, is_least))

    class Slow(ScriptedUpstream):
        def generate(self, task: GenerationTask) -> UpstreamResult:
            world.time.sleep(320)
            return super().generate(task)

    steps: list[tuple[float, bool]] = []
    world = World(Slow(images_per_call=16, always=error), Measured())
    world.generate(steps=200, seeds=range(1, images + 1), tries=1)
    assert [(round(seconds, 6), is_least) for seconds, is_least in steps] == noted


def test_a_bug_in_one_call_costs_no_other_image(caplog: pytest.LogCaptureFixture) -> None:
    class Buggy(ScriptedUpstream):
        def generate(self, task: GenerationTask) -> UpstreamResult:
            if 8 in task.seeds.values():
                raise OverflowError
            return super().generate(task)

    world = World(Buggy())
    calls = world.generate(seeds=[7, 8, 9])
    assert kinds(calls) == [GeneratedImage, UnexpectedError, GeneratedImage]
    assert world.charges(calls) == [(CHARGED, 2000), (UNKNOWN, 1000)]
    (errors,) = world.limiter.outcomes
    assert [error is None for error in errors] == [True, False, True]
    assert [record.message for record in caplog.records] == ["unexpected exception"]


def test_a_bug_in_the_limiter_costs_no_image_that_is_there() -> None:
    class Buggy(ScriptedRateLimiter):
        def acquire(self, calls: int, **options: Any) -> Permit:
            if self.requested:
                raise OverflowError
            return super().acquire(calls, **options)

    world = World(limiter=Buggy(1))
    calls = world.generate(seeds=[7, 8])
    assert kinds(calls) == [GeneratedImage, UnexpectedError]
    assert world.charges(calls) == [(CHARGED, 1000)]
