"""One attempt at a job: generate it, keep its images, write what it came to."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sd3.domain.billing import Charge
from sd3.domain.generation import GenerationResult
from sd3.domain.image import Image
from sd3.domain.job import Job, JobStatus, failed
from sd3.errors import (
    ContentPolicyError,
    GoneError,
    LeaseLostError,
    NotFoundError,
    Sd3Error,
    StorageError,
)
from sd3.services.ports import Clock, ImageGenerator, ImageStorage, JobRepository

STORE_SECONDS: Final = 15
"""Kept back from the caller's time for storing the images and writing the job's end."""


class ExecutionResult(NamedTuple):
    """What an attempt came to: the job with its charge and images, not written yet."""

    job: Job
    outcome: GenerationResult | None = None
    error: Sd3Error | None = None


@dataclass(frozen=True, kw_only=True)
class JobExecutor:
    """Attempts at jobs that the caller has claimed."""

    jobs: JobRepository
    images: ImageStorage
    upstreams: ImageGenerator
    time: Clock

    def make(self, job: Job, init_image: Image | None, *, until: float) -> ExecutionResult:
        """Generate and store before the caller ends, at `until` by the monotonic clock.

        Nothing is raised or written. Every call to the upstream leaves its charge on the job.
        """
        outcome = self.upstreams.generate(
            job.request, seeds=job.seeds, init_image=init_image, deadline=until - STORE_SECONDS
        )
        charges = (Charge(attempt=job.attempt, **expense._asdict()) for expense in outcome.expenses)
        charged = job.model_copy(update={"charges": (*job.charges, *charges)})
        if outcome.error:
            return ExecutionResult(charged, error=outcome.error)
        try:
            records = self.images.save_all(job.folder, outcome.images)
        except StorageError as error:
            return ExecutionResult(charged, error=error)
        ended = charged.model_copy(
            update={
                "status": JobStatus.SUCCEEDED,
                "completed_at": self.time.now(),
                "images": records,
                "prediction_time_ms": outcome.prediction_time_ms,
                "ignored": outcome.ignored,
            }
        )
        if not any(record.key for record in records):
            removed = ContentPolicyError("Every image was removed for safety.")
            ended = failed(ended, removed, now=self.time.now())
        return ExecutionResult(ended, outcome)

    def write(self, job: Job) -> bool:
        """Write what an attempt came to; False when the job was canceled or deleted meanwhile.

        Then its images are thrown away and its charge is kept. Raises LeaseLostError when
        another attempt has taken the job over, and StorageError.
        """
        try:
            self.jobs.save(job)
        except LeaseLostError:
            stored = self._stored(job)
            if stored and _marks(stored) == _marks(job):
                return True  # a put whose answer was lost is put again, and then finds itself
            if stored and stored.status is not JobStatus.CANCELED:
                raise
            if stored and stored.attempt == job.attempt:
                with suppress(LeaseLostError):  # deleted, by now
                    self.jobs.correct(stored.model_copy(update={"charges": job.charges}))
            self.images.delete_all(job.folder, count=job.request.num_images)
            return False
        return True

    def _stored(self, job: Job) -> Job | None:
        try:
            return self.jobs.get(job.id, now=self.time.now())
        except (GoneError, NotFoundError):
            return None


def _marks(job: Job) -> tuple[int, JobStatus, datetime | None]:
    return job.attempt, job.status, job.completed_at
