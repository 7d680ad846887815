"""Generateing a request whose job changes meanwhile, over fakes."""

from collections.abc import Callable
from typing import Any

import pytest

from sd3.domain.billing import ChargeOutcome
from sd3.domain.client import RequestContext
from sd3.domain.job import JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import GoneError, StillRunningError, UpstreamTimeoutError
from sd3.services.jobs import JobService
from tests.support.fakes.ports import FakeImages, FakeJobs, FakeQueue, FakeUpstream, make_service


class Interrupted(FakeUpstream):
    """An upstream during whose call something happens; then it generates, or fails."""

    def __init__(self, happens: Callable[[], object], *errors: UpstreamTimeoutError) -> None:
        super().__init__(errors=errors)
        self.happens = happens

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        self.happens()
        return super().generate(*args, **kwargs)


def generate(service: JobService) -> Any:
    wanted = GenerateRequest.from_values({"prompt": "a fox"})
    return service.generate(wanted, RequestContext("ann", "job-1", seconds=60))


@pytest.mark.parametrize("errors", [[], [UpstreamTimeoutError("slow")]])
def test_a_job_canceled_while_its_caller_generates_is_returned_as_canceled(errors: Any) -> None:
    jobs, images, queue = FakeJobs(), FakeImages(), FakeQueue()
    upstream = Interrupted(lambda: service.cancel("job-1", client_id="ann"), *errors)
    service = make_service(jobs=jobs, images=images, queue=queue, upstream=upstream)
    response = generate(service)
    assert (response.status, response.images, response.cost_usd) == ("canceled", [], 0.03)
    assert not images.objects
    assert len(jobs.items["job-1"].charges) == 1
    assert queue.sent == []


def test_a_job_that_is_deleted_while_its_caller_generates_is_gone() -> None:
    jobs, images = FakeJobs(), FakeImages()
    upstream = Interrupted(lambda: service.delete("job-1", client_id="ann"))
    service = make_service(jobs=jobs, images=images, upstream=upstream)
    with pytest.raises(GoneError):
        generate(service)
    assert not images.objects


def test_a_caller_whose_job_was_taken_over_gets_still_running() -> None:
    jobs = FakeJobs()

    def take_over() -> None:
        held = jobs.items["job-1"]
        jobs.save(held.model_copy(update={"attempt": 2}))

    with pytest.raises(StillRunningError) as caught:
        generate(make_service(jobs=jobs, upstream=Interrupted(take_over)))
    assert caught.value.job_id == "job-1"


def test_a_slow_upstreams_job_waits_for_the_worker_with_its_charge() -> None:
    jobs, queue = FakeJobs(), FakeQueue()
    slow = FakeUpstream(errors=[UpstreamTimeoutError("slow")])
    with pytest.raises(StillRunningError) as caught:
        generate(make_service(jobs=jobs, queue=queue, upstream=slow))
    waits = jobs.items["job-1"]
    assert caught.value.job_id == "job-1"
    assert (waits.status, waits.failures, waits.lease_until) == (JobStatus.QUEUED, 1, None)
    assert [charge.outcome for charge in waits.charges] == [ChargeOutcome.UNKNOWN]
    assert queue.sent == [("job-1", 0)]
