"""From a request to a stored job: its seeds, init image and message."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sd3.domain.billing import Quote, UsageEntry
from sd3.domain.client import ClientLimits
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import MAX_SEED, GenerateRequest, resolve_seeds
from sd3.errors import (
    BudgetExceededError,
    IdempotencyMismatchError,
    RateLimitedError,
    StorageError,
)
from tests.support.factories.submissions import World, caller, request, with_init_image
from tests.support.fakes.ports import (
    NOON,
    FakeJobs,
    FakeQueue,
    sample_image,
)


def test_the_message_is_sent_before_the_job_is_written() -> None:
    class Watching(FakeJobs):
        def create(self, job: Job, **values: Any) -> Job | None:
            assert world.queue.sent == [("job-1", 0)]
            return super().create(job)

    world = World(Watching())
    assert world.submit(request(), caller(key=None)).is_new


def test_a_job_that_its_caller_generates_has_its_message_from_the_stream() -> None:
    world = World()
    job = world.submit(request(), caller(key=None)._replace(respond_async=False)).job
    assert job.status is JobStatus.RUNNING
    assert job.lease_until == NOON + timedelta(seconds=70)
    assert world.queue.sent == []


def test_a_job_is_not_written_when_its_message_cannot_be_sent() -> None:
    class DeadQueue(FakeQueue):
        def send(self, job: Job, *, delay_seconds: int = 0) -> None:
            raise StorageError("down")

    world = World()
    world.queue = DeadQueue()
    with pytest.raises(StorageError):
        world.submit(request(), caller())
    assert not world.jobs.items
    assert not world.jobs.keys


def test_a_job_is_quoted_and_recorded_before_anything_is_paid() -> None:
    world = World()
    who = caller(key=None)._replace(client_name="anna@example.com")
    job = world.submit(request(num_images=2), who).job
    assert job.status is JobStatus.QUEUED
    assert (job.client_id, job.client_name) == ("ann", "anna@example.com")
    assert job.quote == Quote(upstream="fake", micros=60_000)
    assert world.jobs.ledger == {("ann", "2026-11-23"): UsageEntry(reserved=60_000)}


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize(
    "limits", [ClientLimits(daily_budget_micros=50_000), ClientLimits(requests_per_minute=1)]
)
def test_a_request_over_the_limits_stores_nothing(key: str | None, limits: ClientLimits) -> None:
    world = World()
    world.submit(request(), caller(key=None)._replace(limits=limits))
    with pytest.raises((BudgetExceededError, RateLimitedError)):
        world.submit(with_init_image(), caller("job-2", key=key)._replace(limits=limits))
    assert list(world.jobs.items) == ["job-1"]
    assert world.jobs.ledger == {("ann", "2026-11-23"): UsageEntry(reserved=30_000)}
    assert not any((world.jobs.keys, world.images.objects))


class Rejecting(FakeJobs):
    """Has rejected everybody a moment ago."""

    def repeat_rejection(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> None:
        raise RateLimitedError("often", retry_after=9)


def test_a_request_like_one_just_rejected_sends_no_message_and_stores_no_image() -> None:
    world = World(Rejecting())
    with pytest.raises(RateLimitedError):
        world.submit(with_init_image(), caller())
    assert not any((world.queue.sent, world.images.objects))


def test_a_repeated_call_is_not_rejected_because_of_another() -> None:
    for key in (None, "key"):
        world, rejecting = World(), Rejecting()
        created = world.submit(request(), caller(key=key)).job
        rejecting.items, rejecting.keys = world.jobs.items, world.jobs.keys
        world.jobs = rejecting
        assert world.submit(request(), caller(key=key)) == (created, False)


@pytest.mark.parametrize("respond_async", [True, False])
@pytest.mark.parametrize("key", [None, "key"])
def test_an_event_that_comes_twice_leads_to_one_job_and_disturbs_nothing(
    key: str | None, respond_async: bool
) -> None:
    world, who = World(), caller(key=key)._replace(respond_async=respond_async)
    created = world.submit(with_init_image(), who).job
    before = (dict(world.images.objects), list(world.queue.sent))
    other_image = request().model_copy(update={"init_image": sample_image(7)})
    for again in (with_init_image(), other_image):
        assert world.submit(again, who) == (created, False)
    assert (world.images.objects, world.queue.sent) == before


@pytest.mark.parametrize("wanted", [request(), with_init_image()])
@pytest.mark.parametrize("respond_async", [True, False])
@pytest.mark.parametrize("key", [None, "key"])
def test_an_event_with_the_id_of_another_clients_job_changes_and_tells_nothing(
    key: str | None, respond_async: bool, wanted: GenerateRequest
) -> None:
    world = World()
    created = world.submit(with_init_image(), caller()).job
    before = (dict(world.images.objects), list(world.queue.sent))
    other = caller(key=key, client_id="bob")._replace(respond_async=respond_async)
    with pytest.raises(IdempotencyMismatchError) as refused:
        world.submit(wanted, other)
    assert refused.value.job_id is None
    assert world.jobs.items == {"job-1": created}
    assert (world.images.objects, world.queue.sent) == before


@pytest.mark.parametrize(
    ("seed", "count", "fixed"),
    [
        (5, 1, (5,)),
        (5, 3, (5, 6, 7)),
        (MAX_SEED, 3, (MAX_SEED, 1, 2)),
        ([9, 9], 2, (9, 9)),
    ],
)
def test_seeds_count_on_and_wrap(seed: Any, count: int, fixed: tuple[int, ...]) -> None:
    assert resolve_seeds(request(seed=seed, num_images=count)) == fixed


@pytest.mark.parametrize("make", [lambda: None, lambda: [None, 5, None]])
def test_seeds_that_are_null_are_generated(make: Callable[[], Any]) -> None:
    generated = resolve_seeds(request(seed=make(), num_images=3))
    assert len(generated) == 3
    assert all(1 <= seed <= MAX_SEED for seed in generated)
    assert generated[0] != generated[2]
