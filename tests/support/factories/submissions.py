"""Requests, and their submission over fakes."""

from typing import Any

from sd3.domain.client import RequestContext
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.services.submission import Submission
from tests.support.fakes.ports import (
    FakeCounts,
    FakeImages,
    FakeJobs,
    FakeQueue,
    FakeSource,
    FakeTime,
    FakeUploads,
    FakeUpstream,
    fallback,
    make_submission,
    sample_image,
)


def request(**values: Any) -> GenerateRequest:
    return GenerateRequest.from_values({"prompt": "a fox", **values})


def with_init_image(**values: Any) -> GenerateRequest:
    return request(**values).model_copy(update={"init_image": sample_image()})


def caller(
    job_id: str = "job-1", *, key: str | None = "key", client_id: str = "ann"
) -> RequestContext:
    return RequestContext(client_id, job_id, seconds=60, idempotency_key=key, respond_async=True)


class World:
    """Submission over fakes, each of which can be looked at."""

    def __init__(self, jobs: FakeJobs | None = None) -> None:
        self.jobs = jobs or FakeJobs()
        self.images, self.queue, self.clock = FakeImages(), FakeQueue(), FakeTime()
        self.uploads, self.source, self.counts = FakeUploads(), FakeSource(), FakeCounts()
        self.upstream = FakeUpstream()

    def submit(self, wanted: GenerateRequest, who: RequestContext) -> Submission:
        submission = make_submission(
            jobs=self.jobs,
            images=self.images,
            uploads=self.uploads,
            source=self.source,
            counts=self.counts,
            queue=self.queue,
            generator=fallback(self.upstream),
            clock=self.clock,
        )
        return submission.submit(wanted, who)

    def fail(self, job_id: str, code: str) -> None:
        failed = {"status": JobStatus.FAILED, "error": {"code": code, "message": "x"}}
        job = self.jobs.items[job_id]
        self.jobs.items[job_id] = Job.model_validate(job.model_dump() | failed)
