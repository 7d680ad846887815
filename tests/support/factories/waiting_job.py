"""A worker over fakes, and one job that waits for it."""

from datetime import timedelta
from typing import Any

from sd3.domain.billing import Quote
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.services.worker import Worker
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeMetrics,
    FakeTime,
    FakeUpstream,
    make_worker,
)


class World:
    """A worker, and one job that waits in the queue since noon."""

    def __init__(self, upstream: FakeUpstream | None = None, **job: Any) -> None:
        self.upstream = upstream or FakeUpstream()
        self.jobs, self.images, self.clock = FakeJobs(), FakeImages(), FakeTime()
        self.metrics = FakeMetrics()
        self.worker: Worker = make_worker(
            upstream=self.upstream,
            jobs=self.jobs,
            images=self.images,
            clock=self.clock,
            metrics=self.metrics,
        )
        waiting = Job(
            id="job-1",
            client_id="ann",
            status=JobStatus.QUEUED,
            created_at=NOON,
            expires_at=NOON + timedelta(days=30),
            request=GenerateRequest(prompt="a fox"),
            seeds=(7,),
        )
        self.jobs.create(waiting.model_copy(update=job))
        self._wait = 0

    def work(self, job_id: str = "job-1", *, receives: int = 1) -> int | None:
        """Deliver a message that was sent at noon, after the time for which it was sent back."""
        self.clock.advance(self._wait)
        wait = self.worker.process(job_id, seconds=300, sent_at=NOON, receives=receives)
        self._wait = wait or 0
        return wait

    @property
    def job(self) -> Job:
        return self.jobs.items["job-1"]

    @property
    def charges(self) -> list[tuple[int, str]]:
        return [(charge.attempt, charge.outcome) for charge in self.job.charges]


def taken(*, seconds: float = 60, **values: Any) -> dict[str, Any]:
    """Make the changes of a job that puts it in an attempt since noon."""
    lease = NOON + timedelta(seconds=seconds + 10)
    quote = Quote(upstream="fake", micros=30_000)
    return {
        "status": JobStatus.RUNNING,
        "attempt": 1,
        "lease_until": lease,
        "quote": quote,
        **values,
    }


def code(job: Job) -> str | None:
    return job.error.code if job.error else None
