"""An Idempotency-Key and its request are one job, whatever happens at once."""

from typing import Any

import pytest

from sd3.domain.job import IdempotencyRecord, Job, JobStatus
from sd3.domain.request import fingerprint_of
from sd3.errors import (
    ContentPolicyError,
    GoneError,
    IdempotencyMismatchError,
    Sd3Error,
    StorageError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from tests.support.factories.submissions import World, caller, request, with_init_image
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeUpstream,
    make_service,
    sample_image,
)


def test_a_key_and_its_request_are_one_job() -> None:
    world = World()
    first = world.submit(request(), caller("job-1"))
    again = world.submit(request(), caller("job-2"))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.job == first.job
    assert list(world.jobs.items) == ["job-1"]


def test_a_key_is_its_clients_own() -> None:
    world = World()
    world.submit(request(), caller("job-1"))
    assert world.submit(request(), caller("job-2", client_id="bob")).is_new


def test_a_key_with_another_request_is_rejected_and_stores_nothing() -> None:
    world = World()
    world.submit(request(), caller("job-1"))
    with pytest.raises(IdempotencyMismatchError):
        world.submit(with_init_image(), caller("job-2"))
    assert list(world.jobs.items) == ["job-1"]
    assert not world.images.objects


def test_a_repeated_request_stores_no_second_init_image() -> None:
    world = World()
    world.submit(with_init_image(), caller("job-1"))
    assert not world.submit(with_init_image(), caller("job-2")).is_new
    assert list(world.images.objects) == ["ann/job-1/init.jpg"]


def test_an_init_image_that_cannot_be_removed_does_not_spoil_a_replay() -> None:
    class StickyImages(FakeImages):
        def delete_all(self, folder: str, *, count: int) -> None:
            raise StorageError("down")

    world = World()
    world.images = StickyImages()
    world.submit(with_init_image(), caller("job-1"))
    assert world.submit(with_init_image(), caller("job-2")).job.id == "job-1"


def test_a_repeated_call_has_the_same_init_image() -> None:
    for key in ("key", None):
        world = World()
        world.submit(with_init_image(), caller(key=key))
        world.clock.advance(1)
        again = world.submit(with_init_image(), caller(key=key))
        assert (again.is_new, again.job.created_at) == (False, NOON)
        assert list(world.images.objects) == ["ann/job-1/init.jpg"]


def test_a_deleted_jobs_key_is_gone_with_it() -> None:
    world = World()
    job = world.submit(request(), caller("job-1")).job
    world.fail("job-1", "content_policy")
    world.jobs.delete(job, now=NOON)
    with pytest.raises(GoneError):
        world.submit(request(), caller("job-2"))


@pytest.mark.parametrize("code", ["upstream_error", "upstream_unavailable", "internal_error"])
def test_a_job_that_failed_in_passing_frees_its_key(code: str) -> None:
    world = World()
    world.submit(request(), caller("job-1"))
    world.fail("job-1", code)
    assert world.submit(request(), caller("job-2")).is_new
    assert world.submit(request(), caller("job-3")).job.id == "job-2"
    with pytest.raises(IdempotencyMismatchError):
        world.submit(request(prompt="a bear"), caller("job-4"))


def test_a_job_that_failed_for_good_keeps_its_key() -> None:
    world = World()
    world.submit(request(), caller("job-1"))
    world.fail("job-1", "content_policy")
    again = world.submit(request(), caller("job-2"))
    assert (again.job.id, again.job.status) == ("job-1", JobStatus.FAILED)


def test_two_that_take_a_freed_key_at_once_are_one_job() -> None:
    class Overtaken(FakeJobs):
        def create_once(self, job: Job, key: str, **values: Any) -> Job | IdempotencyRecord:
            if values["instead_of"] and job.id == "job-2":
                assert world.submit(request(), caller("job-3")).is_new
            return super().create_once(job, key, **values)

    world = World(Overtaken())
    world.submit(request(), caller("job-1"))
    world.fail("job-1", "upstream_error")
    assert world.submit(request(), caller("job-2")).job.id == "job-3"
    assert list(world.jobs.items) == ["job-1", "job-3"]


def test_a_key_that_is_never_to_be_had_is_an_error() -> None:
    class Contested(FakeJobs):
        def create_once(self, job: Job, key: str, **_: Any) -> IdempotencyRecord:
            return IdempotencyRecord("job-1", fingerprint_of(request()))

    world = World(Contested())
    world.submit(request(), caller("job-1", key=None))
    world.fail("job-1", "upstream_error")
    with pytest.raises(StorageError):
        world.submit(request(), caller("job-2"))


def test_a_call_with_the_key_of_one_that_generates_gets_its_job_and_generates_nothing() -> None:
    second: list[Any] = []

    class Slow(FakeUpstream):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            second.append(service.generate(request(), generating._replace(job_id="job-2")))
            return super().generate(*args, **kwargs)

    upstream = Slow()
    service = make_service(upstream=upstream)
    generating = caller("job-1")._replace(respond_async=False)
    first = service.generate(request(), generating)
    (meanwhile,) = second
    later = service.generate(request(), generating._replace(job_id="job-3"))
    assert [first.status, meanwhile.status, later.status] == ["succeeded", "running", "succeeded"]
    assert {first.id, meanwhile.id, later.id} == {"job-1"}
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (UpstreamUnavailableError("busy"), 2),
        (UpstreamFailedError("cut off"), 2),
        (UpstreamRefusedError("no credit"), 2),
        (UpstreamResponseError("no image"), 1),
        (ContentPolicyError("no"), 1),
    ],
)
def test_a_retry_with_the_same_key_generates_after_what_may_pass(
    error: Sd3Error, calls: int
) -> None:
    upstream = FakeUpstream(errors=[error])
    service = make_service(upstream=upstream)
    generating = caller("job-1")._replace(respond_async=False)
    with pytest.raises(type(error)):
        service.generate(request(), generating)
    again = service.generate(request(), generating._replace(job_id="job-2"))
    assert len(upstream.calls) == calls
    assert again.id == f"job-{calls}"


def test_a_fingerprint_covers_the_whole_request() -> None:
    other_image = request().model_copy(update={"init_image": sample_image(1)})
    every = [request(), request(steps=31), request(seed=1), with_init_image(), other_image]
    assert len({fingerprint_of(one) for one in every}) == len(every)
    sizes = {None, (256, 256), (512, 512)}
    assert len({fingerprint_of(request(), scaled_size=size) for size in sizes}) == len(sizes)
    assert fingerprint_of(request(steps=30)) == fingerprint_of(request())
