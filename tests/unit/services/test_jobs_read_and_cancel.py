"""Reading jobs and ending them, over fakes that change them at the worst moment."""

from datetime import datetime, timedelta

import pytest

from sd3.domain.billing import ChargeOutcome
from sd3.domain.job import Job, JobStatus
from sd3.errors import (
    GoneError,
    InvalidRequestError,
    LeaseLostError,
    NotCancelableError,
    NotFoundError,
    StorageError,
)
from tests.support.fakes.changing_jobs import (
    END,
    FREE,
    QUOTE,
    ChangingJobs,
    generated,
    job,
    running,
    serve,
)
from tests.support.fakes.ports import NOON, FakeImages, FakeJobs, FakeTime, sample_image


def test_a_wait_ends_with_the_job() -> None:
    jobs, clock = ChangingJobs(running()), FakeTime()
    jobs.reads = [lambda: None, lambda: None, lambda: jobs.save(running().model_copy(update=END))]
    found = serve(jobs, clock=clock).get_job("job-1", client_id="ann", wait_seconds=20)
    assert (found.job.status, clock.slept) == (JobStatus.SUCCEEDED, 1.0)


def test_a_wait_ends_with_its_time() -> None:
    clock = FakeTime()
    found = serve(ChangingJobs(running()), clock=clock).get_job(
        "job-1", client_id="ann", wait_seconds=1.75
    )
    assert (found.job.status, clock.slept) == (JobStatus.RUNNING, 1.75)


@pytest.mark.parametrize("seconds", [0, -5])
def test_without_a_wait_the_job_is_read_once(seconds: float) -> None:
    clock = FakeTime()
    serve(ChangingJobs(job()), clock=clock).get_job("job-1", client_id="ann", wait_seconds=seconds)
    assert clock.slept == 0


def test_a_wait_for_a_job_that_is_deleted_meanwhile_ends() -> None:
    jobs = ChangingJobs(job())
    service = serve(jobs)
    jobs.reads = [lambda: None, lambda: service.delete("job-1", client_id="ann")]
    with pytest.raises(GoneError):
        service.get_job("job-1", client_id="ann", wait_seconds=20)


def test_a_client_with_the_current_etag_waits_for_a_change() -> None:
    jobs, clock = ChangingJobs(job()), FakeTime()
    service = serve(jobs, clock=clock)
    tag = service.get_job("job-1", client_id="ann").etag.removeprefix("W/")
    jobs.reads = [lambda: None, lambda: jobs.save(running())]
    found = service.get_job("job-1", client_id="ann", wait_seconds=20, known_tags=frozenset([tag]))
    assert (found.job.status, clock.slept) == (JobStatus.RUNNING, 0.5)
    assert not found.not_modified


def test_a_client_with_another_etag_does_not_wait() -> None:
    clock = FakeTime()
    service = serve(ChangingJobs(job()), clock=clock)
    service.get_job("job-1", client_id="ann", wait_seconds=20, known_tags=frozenset(['"old"']))
    assert clock.slept == 0


def test_any_tag_is_known_to_a_star() -> None:
    service = serve(ChangingJobs(job()))
    assert service.get_job("job-1", client_id="ann", known_tags=frozenset("*")).not_modified
    assert not service.get_job("job-1", client_id="ann").not_modified


def test_a_list_is_newest_first_in_pages_of_the_clients_own() -> None:
    jobs = FakeJobs()
    for n in range(5):
        jobs.create(job(f"job-{n}", created_at=NOON + timedelta(seconds=n)))
    jobs.create(job("other", client_id="bob"))
    service, cursor, seen = serve(jobs), None, []
    for _ in range(3):
        page = service.list_jobs("ann", status=None, limit=2, cursor=cursor)
        seen.append([one.id for one in page.jobs])
        cursor = page.next_cursor
    assert seen == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    assert cursor is None


def test_a_list_can_be_of_one_status() -> None:
    jobs = ChangingJobs(job("a"), generated("b"))
    page = serve(jobs).list_jobs("ann", status=JobStatus.SUCCEEDED, limit=20, cursor=None)
    assert [(one.id, bool(one.images[0].url)) for one in page.jobs] == [("b", True)]


def test_another_clients_cursor_is_rejected() -> None:
    jobs = ChangingJobs(job("a"), job("b"))
    cursor = serve(jobs).list_jobs("ann", status=None, limit=1, cursor=None).next_cursor
    with pytest.raises(InvalidRequestError):
        serve(jobs).list_jobs("bob", status=None, limit=1, cursor=cursor)


def test_a_queued_job_is_canceled_at_once_for_nothing() -> None:
    jobs = ChangingJobs(job())
    response = serve(jobs).cancel("job-1", client_id="ann")
    assert (response.status, response.completed_at, response.cost_usd) == ("canceled", NOON, 0)


def test_a_canceled_job_that_waited_has_no_use_for_its_init_image() -> None:
    class Closed(FakeImages):
        def delete_all(self, folder: str, *, count: int) -> None:
            raise StorageError(f"{folder} {count}")

    key = "ann/job-1/init.jpg"
    for images in (FakeImages(), Closed()):
        images.objects[key] = sample_image()
        waiting = ChangingJobs(job(init_image_key=key))
        canceled = serve(waiting, images=images).cancel("job-1", client_id="ann")
        assert canceled.status == "canceled"
        assert (key in images.objects) == isinstance(images, Closed)


def test_a_job_that_runs_keeps_its_init_image_until_its_attempt_ends() -> None:
    key, images = "ann/job-1/init.jpg", FakeImages()
    images.objects[key] = sample_image()
    serve(ChangingJobs(running(init_image_key=key)), images=images).cancel("job-1", client_id="ann")
    assert key in images.objects


def test_a_running_job_is_canceled_with_what_it_may_have_cost() -> None:
    jobs = ChangingJobs(running())
    assert serve(jobs).cancel("job-1", client_id="ann").cost_usd == 0.03
    canceled = jobs.items["job-1"]
    assert (canceled.status, canceled.lease_until) == (JobStatus.CANCELED, None)
    assert [charge.outcome for charge in canceled.charges] == [ChargeOutcome.UNKNOWN]


@pytest.mark.parametrize("status", [s for s in JobStatus if s.is_terminal])
def test_an_ended_job_cannot_be_canceled(status: JobStatus) -> None:
    with pytest.raises(NotCancelableError, match=status):
        serve(ChangingJobs(job(status=status))).cancel("job-1", client_id="ann")


def test_a_job_that_ends_while_it_is_canceled_cannot_be() -> None:
    jobs = ChangingJobs(running())
    jobs.before_cancel = lambda: jobs.save(running().model_copy(update=END))
    with pytest.raises(NotCancelableError):
        serve(jobs).cancel("job-1", client_id="ann")
    assert jobs.items["job-1"].status is JobStatus.SUCCEEDED


def test_a_job_that_is_claimed_while_it_is_canceled_is_canceled_as_running() -> None:
    jobs = ChangingJobs(job())
    jobs.before_cancel = lambda: jobs.save(running())
    assert serve(jobs).cancel("job-1", client_id="ann").cost_usd == 0.03


def test_a_job_requeued_while_it_is_canceled_has_its_true_charge() -> None:
    jobs = ChangingJobs(running())
    back = {"status": JobStatus.QUEUED, "lease_until": None, "charges": (FREE,)}
    jobs.before_cancel = lambda: jobs.save(running().model_copy(update=back))
    assert serve(jobs).cancel("job-1", client_id="ann").cost_usd == 0
    assert jobs.items["job-1"].charges == (FREE,)


def test_a_job_that_never_stands_still_cannot_be_canceled() -> None:
    class Restless(ChangingJobs):
        def save(self, job: Job) -> Job:
            raise LeaseLostError("changed")

    with pytest.raises(StorageError):
        serve(Restless(job())).cancel("job-1", client_id="ann")


@pytest.mark.parametrize("stored", [job(), running(), generated()])
def test_a_deleted_job_is_gone_with_its_images(stored: Job) -> None:
    jobs, images = ChangingJobs(stored), FakeImages()
    for name in ("ann/job-1/0.jpg", "ann/job-1/init.jpg", "ann/job-2/0.jpg"):
        images.objects[name] = sample_image()
    service = serve(jobs, images=images)
    service.delete("job-1", client_id="ann")
    assert list(images.objects) == ["ann/job-2/0.jpg"]
    for again in (service.delete, service.cancel, service.get_job):
        with pytest.raises(GoneError):
            again("job-1", client_id="ann")
        with pytest.raises(NotFoundError):
            again("job-1", client_id="bob")


def test_a_job_that_ends_while_it_is_deleted_is_deleted() -> None:
    jobs, images = ChangingJobs(running()), FakeImages()
    jobs.before_cancel = lambda: jobs.save(running().model_copy(update=END))
    images.objects["ann/job-1/0.jpg"] = sample_image()
    serve(jobs, images=images).delete("job-1", client_id="ann")
    assert not images.objects
    assert not jobs.items


def test_a_job_that_is_put_back_while_it_is_deleted_is_canceled_and_deleted() -> None:
    class PuttingBack(ChangingJobs):
        def delete(self, job: Job, *, now: datetime) -> None:
            self.items.update(back)
            back.clear()
            super().delete(job, now=now)

    failed = job(status=JobStatus.FAILED, quote=QUOTE)
    jobs = PuttingBack(failed)
    back = {"job-1": job(quote=QUOTE)}
    serve(jobs).delete("job-1", client_id="ann")
    assert jobs.deleted["job-1"].status is JobStatus.CANCELED


def test_a_job_that_never_stands_still_cannot_be_deleted() -> None:
    class Restless(ChangingJobs):
        def delete(self, job: Job, *, now: datetime) -> None:
            raise LeaseLostError("open again")

    with pytest.raises(StorageError):
        serve(Restless(generated())).delete("job-1", client_id="ann")
