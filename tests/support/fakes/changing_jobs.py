"""Jobs in every state, and a store of jobs that change concurrently."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.services.jobs import JobService
from tests.support.fakes.ports import NOON, FakeJobs, make_service

END: dict[str, Any] = {"status": JobStatus.SUCCEEDED, "completed_at": NOON}
QUOTE = {"upstream": "fake", "micros": 30_000}
FREE = Charge(attempt=1, upstream="fake", outcome=ChargeOutcome.FREE, micros=0)


def job(job_id: str = "job-1", **changes: Any) -> Job:
    return Job.model_validate(
        {
            "id": job_id,
            "client_id": "ann",
            "status": JobStatus.QUEUED,
            "created_at": NOON,
            "expires_at": NOON + timedelta(days=1),
            "request": {"prompt": "a fox"},
            "seeds": (1,),
        }
        | changes
    )


def running(**changes: Any) -> Job:
    lease_until = NOON + timedelta(seconds=60)
    taken: dict[str, Any] = {"attempt": 1, "lease_until": lease_until, "quote": QUOTE}
    return job(**(taken | {"status": JobStatus.RUNNING} | changes))


def generated(job_id: str = "job-1") -> Job:
    records = (
        ImageRecord(index=0, seed=1, key=f"ann/{job_id}/0.jpg"),
        ImageRecord(index=1, seed=2, removed_for_safety=True),
    )
    return job(job_id, images=records, **END)


class ChangingJobs(FakeJobs):
    """A store that runs a callback right before a job is canceled or read, once."""

    def __init__(self, *jobs: Job) -> None:
        super().__init__()
        self.before_cancel: Callable[[], object] = lambda: None
        self.reads: list[Callable[[], object]] = []
        for one in jobs:
            self.create(one)

    def save(self, job: Job) -> Job:
        if job.status is JobStatus.CANCELED:
            change, self.before_cancel = self.before_cancel, lambda: None
            change()
        return super().save(job)

    def get(self, *args: Any, **kwargs: Any) -> Job:
        if self.reads:
            self.reads.pop(0)()
        return super().get(*args, **kwargs)


def serve(jobs: FakeJobs, **others: Any) -> JobService:
    return make_service(jobs=jobs, **others)
