"""Requests that are answered with the images of an earlier job of the same client."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.billing import UsageEntry
from sd3.domain.client import CacheControl, ClientLimits, RequestContext
from sd3.domain.image import Image
from sd3.domain.job import UNSIGNED, ImageRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    BudgetExceededError,
    IdempotencyMismatchError,
    NotCachedError,
    RateLimitedError,
    StorageError,
    UpstreamFailedError,
)
from sd3.responses.models import JobResponse
from tests.support.factories.submissions import request, with_init_image
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeQueue,
    FakeTime,
    FakeUpstream,
    make_service,
    make_worker,
    sample_image,
)

ASKED = request(seed=7, num_images=2)


class World:
    """The use cases of clients over fakes, with results that are reused."""

    def __init__(self, *, jobs: FakeJobs | None = None, images: FakeImages | None = None) -> None:
        self.jobs, self.images = jobs or FakeJobs(), images or FakeImages()
        self.queue, self.upstream, self.clock = FakeQueue(), FakeUpstream(), FakeTime()

    def generate(
        self, job_id: str, asked: GenerateRequest = ASKED, *, reuses: bool = True, **context: Any
    ) -> JobResponse:
        self.clock.advance(1)
        service = make_service(
            upstream=self.upstream,
            jobs=self.jobs,
            images=self.images,
            queue=self.queue,
            clock=self.clock,
            reuses=reuses,
        )
        return service.generate(asked, RequestContext(**(_who(job_id) | context)))

    def stored(self, job_id: str) -> list[str]:
        return [key for key in self.images.objects if f"/{job_id}/" in key]


def _who(job_id: str) -> dict[str, Any]:
    return {"client_id": "ann", "job_id": job_id, "seconds": 60}


@pytest.fixture
def world() -> World:
    """A client's request has been generated, as the job `first`."""
    world = World()
    assert world.generate("first").cost_usd == 0.06
    return world


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"respond_async": True},
        {"hold_until": NOON + timedelta(seconds=26)},
        {"idempotency_key": "key"},
        {"cache": CacheControl(only_if_cached=True, max_age=1)},
    ],
    ids=["plain", "async", "held", "with a key", "only if cached"],
)
def test_the_same_request_is_a_job_of_its_own_with_the_same_images(
    world: World, how: dict[str, Any]
) -> None:
    first, again = world.jobs.items["first"], world.generate("again", **how)
    assert (again.id, again.status, again.cost_usd) == ("again", JobStatus.SUCCEEDED, 0)
    assert (again.reused_from, again.reused_at) == ("first", first.completed_at)
    assert [one.seed for one in again.images] == [7, 8]
    assert [one.url for one in again.images] == [
        f"https://images.test/ann/again/{index}.jpg" for index in range(2)
    ]
    assert len(world.upstream.calls) == 1
    assert world.queue.sent == []
    assert world.jobs.ledger["ann", "2026-11-23"] == UsageEntry(spent=60_000, images=4)


def test_a_copy_answers_nothing_and_outlives_its_source(world: World) -> None:
    assert world.generate("again").reused_from == "first"
    assert world.generate("third").reused_from == "first"
    service = make_service(jobs=world.jobs, images=world.images, clock=world.clock)
    service.delete("first", client_id="ann")
    assert world.stored("again") == ["ann/again/0.jpg", "ann/again/1.jpg"]
    assert world.generate("new").reused_from is None


def test_a_result_of_the_worker_answers_too() -> None:
    world = World()
    asked = request(seed=7, num_images=16)  # long work
    assert world.generate("long", asked).status is JobStatus.QUEUED
    worker = make_worker(jobs=world.jobs, images=world.images, clock=world.clock)
    worker.process("long", seconds=300, sent_at=NOON, receives=1)
    assert world.generate("again", asked).reused_from == "long"


@pytest.mark.parametrize(
    ("asked", "context"),
    [
        (request(seed=8, num_images=2), {}),
        (request(seed=7, num_images=2, prompt="a hen"), {}),
        (request(num_images=2), {}),
        (request(seed=[7, None], num_images=2), {}),
        (ASKED, {"client_id": "bob"}),
        (ASKED, {"scaled_size": (512, 512)}),
        (ASKED, {"reuses": False}),
        (ASKED, {"cache": CacheControl(reads=False)}),
        (ASKED, {"cache": CacheControl(reads=False, stores=False)}),
        (ASKED, {"cache": CacheControl(max_age=1)}),
    ],
)
def test_a_result_is_of_one_client_and_one_request(
    world: World, asked: GenerateRequest, context: dict[str, Any]
) -> None:
    world.clock.advance(5)
    only = context.get("cache", CacheControl())._replace(only_if_cached=True)
    before = (dict(world.jobs.items), dict(world.images.objects))
    with pytest.raises(NotCachedError):
        world.generate("none", asked, **context | {"cache": only})
    assert (world.jobs.items, world.images.objects) == before  # nothing was generated or stored
    assert len(world.upstream.calls) == 1
    assert world.generate("other", asked, **context).reused_from is None
    assert len(world.upstream.calls) == 2


def _expired(job: Job) -> Job:
    return job.model_copy(update={"expires_at": NOON})


def _in_part(job: Job) -> Job:
    removed = ImageRecord(index=1, seed=8, removed_for_safety=True)
    return job.model_copy(update={"images": (job.images[0], removed)})


def _unsigned(job: Job) -> Job:
    first = job.images[0].model_copy(update={"provenance": UNSIGNED})
    return job.model_copy(update={"images": (first, job.images[1])})


def _without_manifest(job: Job) -> Job:
    second = job.images[1].model_copy(update={"c2pa": False})
    return job.model_copy(update={"images": (job.images[0], second)})


def _running(job: Job) -> Job:
    return job.model_copy(update={"status": JobStatus.RUNNING})


@pytest.mark.parametrize("spoil", [_expired, _in_part, _unsigned, _without_manifest, _running])
def test_only_a_whole_and_signed_result_that_is_still_there_answers(
    world: World, spoil: Callable[[Job], Job]
) -> None:
    world.jobs.items["first"] = spoil(world.jobs.items["first"])
    assert world.generate("again").cost_usd == 0.06


def test_a_new_result_replaces_the_earlier_one_unless_it_is_not_to_be_stored(world: World) -> None:
    new = CacheControl(reads=False)
    assert world.generate("new", cache=new).reused_from is None
    assert world.generate("again").reused_from == "new"
    assert world.generate("secret", cache=new._replace(stores=False)).reused_from is None
    assert world.generate("third").reused_from == "new"


@pytest.mark.parametrize("upstream", [FakeUpstream(removed=[1]), FakeUpstream(removed=[0, 1])])
def test_a_result_in_part_does_not_replace_a_whole_one(
    world: World, upstream: FakeUpstream
) -> None:
    world.upstream = upstream
    world.generate("part", cache=CacheControl(reads=False))
    assert world.generate("again").reused_from == "first"


def test_a_key_leads_to_its_job_and_not_to_another_copy(world: World) -> None:
    first = world.generate("again", idempotency_key="key")
    assert world.generate("third", idempotency_key="key").id == first.id == "again"
    assert world.stored("third") == []
    with pytest.raises(IdempotencyMismatchError):
        world.generate("fourth", request(seed=9), idempotency_key="key")


def test_an_event_that_comes_twice_overwrites_no_image(world: World) -> None:
    world.generate("new", cache=CacheControl(reads=False))
    world.images.objects["ann/new/0.jpg"] = sample_image(9)
    before = dict(world.images.objects)
    again = world.generate("first")
    assert (again.id, again.reused_from) == ("first", None)
    assert world.images.objects == before


def test_a_copy_costs_nothing_of_a_budget_and_counts_as_a_request(world: World) -> None:
    spent = ClientLimits(daily_budget_micros=50_000)  # lowered since
    assert world.generate("again", limits=spent).cost_usd == 0
    with pytest.raises(BudgetExceededError):
        world.generate("other", request(seed=9), limits=spent)
    world.jobs.minutes.clear()
    one = ClientLimits(requests_per_minute=1)
    assert world.generate("third", limits=one).cost_usd == 0
    with pytest.raises(RateLimitedError):
        world.generate("fourth", limits=one)
    assert world.stored("fourth") == []


def test_an_init_image_is_stored_with_the_copy_too() -> None:
    world, asked = World(), with_init_image(seed=7)
    world.generate("first", asked)
    assert world.generate("again", asked).reused_from == "first"
    assert world.stored("again") == ["ann/again/0.jpg", "ann/again/init.jpg"]
    other = asked.model_copy(update={"init_image": sample_image(1)})
    assert world.generate("other", other).reused_from is None


class _HalfGone(FakeImages):
    """A bucket in which the second copy fails."""

    def _put(self, key: str, image: Image) -> str:
        if key == "ann/again/1.jpg":
            raise StorageError("down")
        return super()._put(key, image)


def test_what_cannot_be_copied_is_generated_and_paid_once() -> None:
    world = World(images=_HalfGone())
    world.generate("first")
    world.images.objects["ann/again/0.jpg"] = sample_image(9)  # as if an earlier copy had died
    with pytest.raises(NotCachedError):
        world.generate("again", cache=CacheControl(only_if_cached=True))
    assert world.stored("again") == []
    del world.images.objects["ann/first/1.jpg"]
    assert world.generate("third").cost_usd == 0.06
    assert world.jobs.ledger["ann", "2026-11-23"] == UsageEntry(spent=120_000, images=4)


class _Forgetful(FakeJobs):
    """A table that cannot be asked for results, nor told of them."""

    def find_result(self, client_id: str, key: str) -> str | None:
        raise StorageError("down")

    def note_result(self, job: Job) -> None:
        raise RuntimeError("a bug")


def test_no_job_fails_because_results_cannot_be_noted_or_found() -> None:
    world = World(jobs=_Forgetful())
    for job_id in ("first", "again"):
        response = world.generate(job_id)
        assert (response.status, response.cost_usd) == (JobStatus.SUCCEEDED, 0.06)


def test_a_failed_job_is_no_result() -> None:
    world = World()
    world.upstream.errors = [UpstreamFailedError("down")]
    with pytest.raises(UpstreamFailedError):
        world.generate("first")
    assert not world.jobs.results
    assert world.generate("again").reused_from is None
