"""One attempt at a job: draw it, keep its pictures, write what it came to."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sd3.errors import (
    ContentPolicyError,
    GoneError,
    LeaseLostError,
    NotFoundError,
    Sd3Error,
    StorageError,
)
from sd3.images import Picture
from sd3.models import Charge, ChargeOutcome, Drawing, Job, JobError, JobStatus
from sd3.ports import Images, Jobs, Time
from sd3.upstreams import Upstream

STORE_SECONDS: Final = 15
"""Kept back from the caller's time for storing the pictures and writing the job's end."""

LEASE_MARGIN_SECONDS: Final = 10
"""How long after its last moment an attempt still counts as alive: clocks differ."""


class Result(NamedTuple):
    """What an attempt came to: the job with its charge and pictures, not written yet."""

    job: Job
    drawing: Drawing | None = None
    error: Sd3Error | None = None


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Attempts at jobs that the caller has claimed."""

    jobs: Jobs
    images: Images
    upstream: Upstream
    time: Time

    def make(self, job: Job, init_image: Picture | None, *, until: float) -> Result:
        """Draw and store before the caller ends, at `until` by the monotonic clock.

        Nothing is raised or written. Every call to the upstream leaves its charge on the job.
        """
        deadline = until - STORE_SECONDS
        try:
            drawing = self.upstream.draw(
                job.request, seeds=job.seeds, init_image=init_image, deadline=deadline
            )
        except Sd3Error as error:
            outcome = ChargeOutcome.UNKNOWN if error.may_have_charged else ChargeOutcome.FREE
            return Result(self._with_charge(job, outcome), error=error)
        charged = self._with_charge(job, ChargeOutcome.CHARGED)
        try:
            records = self.images.put_all(job.folder, drawing.pictures)
        except StorageError as error:
            return Result(charged, error=error)
        ended = charged.model_copy(
            update={
                "status": JobStatus.SUCCEEDED,
                "completed_at": self.time.now(),
                "images": records,
                "prediction_time_ms": drawing.prediction_time_ms,
            }
        )
        if not any(record.key for record in records):
            removed = ContentPolicyError("Every picture was removed for safety.")
            ended = failed(ended, removed, now=self.time.now())
        return Result(ended, drawing)

    def write(self, job: Job) -> bool:
        """Write what an attempt came to; False when the job was canceled or deleted meanwhile.

        Then its pictures are thrown away and its charge is kept. Raises LeaseLostError when
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

    def _with_charge(self, job: Job, outcome: ChargeOutcome) -> Job:
        micros = 0 if outcome is ChargeOutcome.FREE else self.upstream.quote(job.request)
        charge = Charge(
            attempt=job.attempt, upstream=self.upstream.name, outcome=outcome, micros=micros
        )
        return job.model_copy(update={"charges": (*job.charges, charge)})


def _marks(job: Job) -> tuple[int, JobStatus, datetime | None]:
    return job.attempt, job.status, job.completed_at


def with_unknown_charge(job: Job, upstream: Upstream) -> Job:
    """The job with what its running attempt may have cost, of which nothing is known."""
    charge = Charge(
        attempt=job.attempt,
        upstream=upstream.name,
        outcome=ChargeOutcome.UNKNOWN,
        micros=upstream.quote(job.request),
    )
    return job.model_copy(update={"charges": (*job.charges, charge)})


def failed(job: Job, error: Sd3Error, *, now: datetime) -> Job:
    """The job as ended by `error`."""
    return job.model_copy(
        update={
            "status": JobStatus.FAILED,
            "completed_at": now,
            "error": JobError(code=error.code, message=error.message),
        }
    )


def queued_again(job: Job, *, counted: bool) -> Job:
    """The job as waiting for its next attempt, this one counted as a failure or not."""
    return job.model_copy(
        update={
            "status": JobStatus.QUEUED,
            "lease_until": None,
            "failures": job.failures + counted,
        }
    )


def running(job: Job, *, now: datetime, seconds: float) -> Job:
    """The job as taken for its next attempt, by a caller that lives for `seconds`."""
    return job.model_copy(
        update={
            "status": JobStatus.RUNNING,
            "attempt": job.attempt + 1,
            "lease_until": now + timedelta(seconds=seconds + LEASE_MARGIN_SECONDS),
        }
    )
