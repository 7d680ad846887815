"""The reproduction of a job: the same request, seeds, init image and upstream, as a new job."""

from typing import Any

import pytest

from sd3.domain.client import CacheControl, ClientLimits, RequestContext
from sd3.domain.job import Job, JobStatus, Reproduction
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    GoneError,
    IdempotencyMismatchError,
    InvalidRequestError,
    NotFoundError,
    NotReproducibleError,
    Sd3Error,
    UpstreamTimeoutError,
)
from sd3.responses.models import JobResponse
from sd3.services.jobs import JobService
from sd3.services.reproduction import JobReproduction
from tests.support.factories.stored_jobs import job
from tests.support.factories.submissions import request, with_init_image
from tests.support.fakes.ports import (
    FakeImages,
    FakeJobs,
    FakeTime,
    FakeUpstream,
    fallback,
    make_executor,
    make_service,
    make_worker,
)


class World:
    """Ann's first job and its reproductions, over fakes that can be looked at."""

    def __init__(self) -> None:
        self.jobs, self.images, self.clock = FakeJobs(), FakeImages(), FakeTime()
        self.upstream = FakeUpstream()

    def generate(self, wanted: GenerateRequest | None = None, **context: Any) -> JobResponse:
        who = RequestContext("ann", "first", seconds=60)._replace(**context)
        return self._service().generate(wanted or request(seed=7, num_images=2), who)

    def reproduce(self, job_id: str = "first", *, as_job: str = "new", **who: Any) -> JobResponse:
        context = RequestContext("ann", as_job, seconds=60)._replace(**who)
        service = self._service()
        return JobReproduction(
            service=service, jobs=self.jobs, images=self.images, clock=self.clock.time()
        ).reproduce(job_id, context)

    def change(self, job_id: str = "first", **values: Any) -> None:
        self.jobs.items[job_id] = self.jobs.items[job_id].model_copy(update=values)

    def refused(self, **who: Any) -> str:
        """Return why a reproduction is refused, and check that it changed nothing."""
        before, calls = dict(self.jobs.items), len(self.upstream.calls)
        with pytest.raises(NotReproducibleError) as caught:
            self.reproduce(**who)
        assert (self.jobs.items, len(self.upstream.calls)) == (before, calls)
        return caught.value.message

    def _service(self) -> JobService:
        return make_service(
            jobs=self.jobs,
            images=self.images,
            upstream=self.upstream,
            clock=self.clock,
            reuses=True,
        )


def test_the_new_job_has_the_same_request_and_seeds_and_names_the_old_one() -> None:
    world = World()
    first = world.generate(request(num_images=2, steps=20, metadata={"of": "ann"}))
    world.clock.advance(60)
    new = world.reproduce()
    assert [one.seed for one in new.images] == [one.seed for one in first.images]
    assert (new.id, new.status, new.metadata) == ("new", JobStatus.SUCCEEDED, {"of": "ann"})
    assert (new.reproduced_from, first.reproduced_from) == ("first", None)
    assert new.cost_usd == first.cost_usd > 0
    one, two = world.upstream.calls
    assert two.model_copy(update={"seed": one.seed}) == one


def test_a_job_with_its_seeds_is_generated_again_though_results_are_reused() -> None:
    world = World()
    world.generate(request(seed=7))
    assert world.reproduce().reused_from is None
    assert len(world.upstream.calls) == 2


def test_a_reproduction_is_not_to_be_found_again_where_its_client_says_so() -> None:
    world = World()
    world.generate(request(seed=7))
    world.reproduce(cache=CacheControl(stores=False))
    assert world.jobs.items["new"].result_key is None
    assert world.generate(request(seed=7), job_id="again").reused_from == "first"


def test_the_new_job_has_an_init_image_of_its_own() -> None:
    world = World()
    world.generate(with_init_image(strength=0.5))
    world.images.objects.pop("ann/first/0.jpg")  # its images are not needed
    world.reproduce()
    assert "ann/new/init.jpg" in world.images.objects
    assert world.upstream.init_images[0] == world.upstream.init_images[1] is not None
    assert world.jobs.items["new"].request.init_image_id is None


def test_images_of_another_size_are_scaled_again() -> None:
    world = World()
    world.generate(scaled_size=(512, 512))
    world.reproduce()
    assert world.jobs.items["new"].scaled_size == (512, 512)


@pytest.mark.parametrize(
    ("client_id", "delete", "age", "error"),
    [("bob", False, 0, NotFoundError), ("ann", True, 0, GoneError), ("ann", False, 31, GoneError)],
)
def test_a_job_that_its_client_cannot_read_is_not_reproduced(
    client_id: str, delete: bool, age: int, error: type[Sd3Error]
) -> None:
    world = World()
    world.generate()
    if delete:
        world.jobs.delete(world.jobs.items["first"], now=world.clock.time().now())
    world.clock.advance(86_400 * age)
    with pytest.raises(error):
        world.reproduce(client_id=client_id)
    assert "new" not in world.jobs.items


@pytest.mark.parametrize("status", ["queued", "running", "failed", "canceled"])
def test_a_job_without_images_cannot_be_reproduced(status: str) -> None:
    world = World()
    world.generate()
    world.change(status=JobStatus(status))
    assert world.refused() == f"The job has no images: it is {status}."


def test_another_upstream_or_model_cannot_reproduce() -> None:
    world = World()
    world.upstream.model = "v1"
    world.generate()
    world.upstream.model = "v2"
    assert world.refused() == "The upstream fake has another model now."
    world.upstream.name = "other"
    assert world.refused() == "The upstream fake is not configured any more."


def test_a_job_of_a_version_that_noted_no_model_is_reproduced_by_its_upstream() -> None:
    world = World()
    world.generate()
    world.upstream.model = "v1"
    assert world.reproduce().reproduced_from == "first"


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"upstream": "other"}, "of several upstreams"), ({"model": "v2"}, "of several upstreams")],
)
def test_images_of_several_upstreams_or_models_cannot_be_reproduced(
    changes: dict[str, str], why: str
) -> None:
    world = World()
    world.generate()
    one, two = world.jobs.items["first"].images
    world.change(images=(one, two.model_copy(update=changes)))
    assert why in world.refused()


def test_a_request_that_this_version_does_not_know_cannot_be_reproduced() -> None:
    world = World()
    world.generate()
    values = world.jobs.items["first"].model_dump(mode="json")
    values["request"]["hologram"] = True
    world.jobs.items["first"] = Job.model_validate(values)
    assert "later version" in world.refused()
    values["request"]["hologram"] = False
    world.jobs.items["first"] = Job.model_validate(values)
    assert world.reproduce().reproduced_from == "first"


def test_an_init_image_that_is_gone_cannot_be_drawn_from() -> None:
    class Emptied(FakeImages):
        def get_init_image(self, key: str) -> Any:
            raise InvalidRequestError([], message="The init image is no longer stored.")

    world = World()
    world.images = Emptied()
    world.generate(with_init_image())
    assert world.refused() == "The init image is no longer stored."


def test_a_client_that_may_ask_for_fewer_images_now_is_told() -> None:
    world = World()
    world.generate()
    refusal = world.refused(limits=ClientLimits(max_images=1))
    assert "num_images: Input should be less than or equal to 1 for this client" in refusal


def test_a_repeated_call_with_its_key_is_one_job_though_the_first_job_is_gone() -> None:
    world = World()
    world.generate()
    new = world.reproduce(idempotency_key="k")
    assert world.reproduce(as_job="again", idempotency_key="k") == new
    world.jobs.delete(world.jobs.items["first"], now=world.clock.time().now())
    assert world.reproduce(as_job="again", idempotency_key="k") == new
    with pytest.raises(GoneError):
        world.reproduce(as_job="again", idempotency_key="another")
    assert len(world.upstream.calls) == 2


def test_the_key_of_another_job_answers_for_none_that_is_gone() -> None:
    world = World()
    world.generate(idempotency_key="k")
    world.generate(request(seed=9), job_id="other")
    world.reproduce("other", idempotency_key="of other")
    world.jobs.delete(world.jobs.items["first"], now=world.clock.time().now())
    for key in ("k", "of other"):
        with pytest.raises(GoneError):
            world.reproduce(idempotency_key=key)


def test_a_key_of_another_call_is_refused() -> None:
    world = World()
    seeds = request(seed=[7, 8], num_images=2)
    world.generate(seeds, idempotency_key="k")
    with pytest.raises(IdempotencyMismatchError):
        world.reproduce(idempotency_key="k")
    assert list(world.jobs.items) == ["first"]


def test_no_other_upstream_is_called_though_it_comes_first() -> None:
    first, own = FakeUpstream(), FakeUpstream()
    first.name = "first"
    executor = make_executor(jobs=FakeJobs(), generator=fallback(first, own))
    running = job(reproduction=Reproduction(job_id="old", upstream="fake"))
    assert executor.execute(running, None, until=1060).job.upstream == "fake"
    assert not first.calls


def test_the_worker_asks_the_upstream_that_generated_the_first_job() -> None:
    world = World()
    world.generate()
    world.upstream.errors = [UpstreamTimeoutError("slow")]
    with pytest.raises(Sd3Error):
        world.reproduce()
    world.upstream.name = "other"
    worker = make_worker(
        jobs=world.jobs, images=world.images, upstream=world.upstream, clock=world.clock
    )
    now = world.clock.time().now()
    assert worker.process("new", seconds=300, sent_at=now, receives=1) is None
    failed = world.jobs.items["new"]
    assert failed.error is not None
    assert failed.error.code == "not_reproducible"
    assert len(world.upstream.calls) == 2
