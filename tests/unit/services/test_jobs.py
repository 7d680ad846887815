"""Generateing a request, over fakes."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.billing import ChargeOutcome
from sd3.domain.client import RequestContext
from sd3.domain.job import JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    NotFoundError,
    Sd3Error,
    StorageBusyError,
    StorageError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from sd3.responses.models import JobResponse
from sd3.services.jobs import JobService
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeQueue,
    FakeTime,
    FakeUpstream,
    make_service,
    sample_image,
)


def request(**values: Any) -> GenerateRequest:
    return GenerateRequest.from_values({"prompt": "a fox", **values})


def generate(service: JobService, wanted: GenerateRequest, *, job_id: str = "job-1") -> JobResponse:
    return service.generate(wanted, RequestContext("ann", job_id, seconds=60))


def test_a_generated_job_has_a_link_for_each_image() -> None:
    response = generate(make_service(), request(num_images=2, seed=7, metadata={"a": "b"}))
    assert response.status is JobStatus.SUCCEEDED
    assert [image.url for image in response.images] == [
        "https://images.test/ann/job-1/0.jpg",
        "https://images.test/ann/job-1/1.jpg",
    ]
    assert [image.seed for image in response.images] == [7, 8]
    assert response.images[0].expires_at == NOON + timedelta(hours=1)
    assert response.images[0].image_b64 is None
    assert response.prediction_time_ms == 1234.5
    assert response.cost_usd == 0.06
    assert response.metadata == {"a": "b"}
    assert response.error is None


def test_the_job_is_written_before_anything_is_paid() -> None:
    jobs = FakeJobs()

    class Watching(FakeUpstream):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            assert [job.status for job in jobs.writes] == [JobStatus.RUNNING]
            return super().generate(*args, **kwargs)

    upstream = Watching()
    generate(make_service(jobs=jobs, upstream=upstream), request())
    assert len(upstream.calls) == 1
    first, last = jobs.writes
    assert first.attempt == 1
    assert first.lease_until == NOON + timedelta(seconds=60 + 10)
    assert first.expires_at == NOON + timedelta(days=30)
    assert last.status is JobStatus.SUCCEEDED
    assert last.completed_at == NOON
    assert [(c.outcome, c.micros, c.upstream) for c in last.charges] == [
        (ChargeOutcome.CHARGED, 30_000, "fake")
    ]


def test_the_upstream_has_the_callers_time_less_what_storing_needs() -> None:
    upstream = FakeUpstream()
    generate(make_service(upstream=upstream), request())
    assert upstream.deadlines == [1000 + 60 - 15]


def test_an_init_image_is_stored_before_the_job_and_passed_to_the_upstream() -> None:
    jobs, images, upstream = FakeJobs(), FakeImages(), FakeUpstream()
    init = sample_image()
    wanted = request().model_copy(update={"init_image": init})
    generate(make_service(jobs=jobs, images=images, upstream=upstream), wanted)
    assert jobs.writes[0].init_image_key == "ann/job-1/init.jpg"
    assert images.objects["ann/job-1/init.jpg"] is init
    assert upstream.init_images == [init]


@pytest.mark.parametrize(("num_images", "steps"), [(1, 121), (16, 8), (4, 31)])
def test_a_job_too_long_for_a_response_is_queued(num_images: int, steps: int) -> None:
    queue, upstream = FakeQueue(), FakeUpstream()
    response = generate(
        make_service(queue=queue, upstream=upstream), request(num_images=num_images, steps=steps)
    )
    assert (response.status, response.images, response.cost_usd) == (JobStatus.QUEUED, [], 0)
    assert queue.sent == [("job-1", 0)]
    assert not upstream.calls


@pytest.mark.parametrize(("num_images", "steps"), [(1, 120), (16, 7), (4, 30)])
def test_work_up_to_the_limit_is_generated(num_images: int, steps: int) -> None:
    response = generate(make_service(), request(num_images=num_images, steps=steps))
    assert len(response.images) == num_images


@pytest.mark.parametrize(
    ("error", "outcome", "micros"),
    [
        (UpstreamUnavailableError("busy"), ChargeOutcome.FREE, 0),
        (ContentPolicyError("no"), ChargeOutcome.FREE, 0),
        (StorageError("no secret"), ChargeOutcome.FREE, 0),
        (UpstreamResponseError("cut off"), ChargeOutcome.UNKNOWN, 30_000),
    ],
)
def test_an_upstreams_failure_ends_the_job_with_its_charge(
    error: Sd3Error, outcome: ChargeOutcome, micros: int
) -> None:
    jobs = FakeJobs()
    with pytest.raises(type(error)) as caught:
        generate(make_service(jobs=jobs, upstream=FakeUpstream(errors=[error])), request())
    assert caught.value.job_id == "job-1"
    ended = jobs.items["job-1"]
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == error.code
    assert [(charge.outcome, charge.micros) for charge in ended.charges] == [(outcome, micros)]


def test_a_job_whose_images_cannot_be_stored_fails_and_records_its_charge() -> None:
    class FullImages(FakeImages):
        def save_all(self, *args: Any) -> Any:
            raise StorageError("full")

    jobs = FakeJobs()
    with pytest.raises(StorageError):
        generate(make_service(jobs=jobs, images=FullImages()), request())
    assert jobs.items["job-1"].status is JobStatus.FAILED
    assert jobs.items["job-1"].charges[0].outcome is ChargeOutcome.CHARGED


@pytest.mark.parametrize(("fails", "kind"), [("create", StorageBusyError), ("save", StorageError)])
def test_busy_storage_is_called_so_only_if_nothing_was_charged(
    fails: str, kind: type[Sd3Error], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StorageBusyError("too busy")

    jobs, upstream = FakeJobs(), FakeUpstream()
    monkeypatch.setattr(jobs, fails, refuse)
    with pytest.raises(StorageError) as caught:
        generate(make_service(jobs=jobs, upstream=upstream), request())
    assert (type(caught.value), caught.value.job_id) == (kind, "job-1")
    assert len(upstream.calls) == (kind is StorageError)


def test_a_removed_image_is_an_outcome_of_its_own() -> None:
    response = generate(make_service(upstream=FakeUpstream(removed=[1])), request(num_images=2))
    stored, removed = response.images
    assert response.status is JobStatus.SUCCEEDED
    assert stored.url
    assert removed.removed_for_safety
    assert (removed.url, removed.expires_at) == (None, None)
    assert removed.safety_score == 0.99


def test_a_job_whose_every_image_was_removed_has_failed_by_content_policy() -> None:
    jobs = FakeJobs()
    response = generate(make_service(jobs=jobs, upstream=FakeUpstream(removed=[0])), request())
    assert response.status is JobStatus.FAILED
    assert response.error is not None
    assert response.error.code == "content_policy"
    assert response.images[0].removed_for_safety
    assert jobs.items["job-1"].charges[0].outcome is ChargeOutcome.CHARGED


def test_a_job_is_read_back_with_links_signed_now() -> None:
    clock = FakeTime()
    service = make_service(clock=clock)
    generated = generate(service, request(response_format="b64_json"))
    clock.advance(600)
    read = service.to_response(service.get_job("job-1", client_id="ann").job)
    assert generated.images[0].image_b64
    assert read.images[0].image_b64 == generated.images[0].image_b64
    assert read.images[0].expires_at == NOON + timedelta(minutes=70)


def test_no_more_images_are_read_than_fit_a_response() -> None:
    class LargeImages(FakeUpstream):
        def generate(self, *args: Any) -> Any:
            images = super().generate(*args)
            large = [one._replace(image=sample_image(size=1_000_000)) for one in images.images]
            return images._replace(images=tuple(large))

    images = FakeImages()
    service = make_service(images=images, upstream=LargeImages())
    generated = generate(service, request(response_format="b64_json", num_images=4))
    read = service.to_response(service.get_job("job-1", client_id="ann").job)
    for response in (generated, read):
        assert [image.image_b64 is not None for image in response.images] == [True] * 3 + [False]
        assert all(image.url for image in response.images)
    assert images.reads == 3
    [listed] = service.list_jobs("ann", status=None, limit=1, cursor=None).jobs
    assert listed.images[0].image_b64 is None


@pytest.mark.parametrize(("job_id", "client_id"), [("job-1", "bob"), ("job-2", "ann")])
def test_another_clients_job_is_not_found_just_as_none_at_all(job_id: str, client_id: str) -> None:
    service = make_service()
    generate(service, request())
    with pytest.raises(NotFoundError, match=r"^There is no such job\.$"):
        service.get_job(job_id, client_id=client_id)
