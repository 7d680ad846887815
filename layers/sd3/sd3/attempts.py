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
from sd3.models import Charge, ChargeOutcome, Job, JobError, JobStatus, Outcome, Quote
from sd3.ports import Images, Jobs, Time, Upstreams

STORE_SECONDS: Final = 15
"""Kept back from the caller's time for storing the pictures and writing the job's end."""

LEASE_MARGIN_SECONDS: Final = 10
"""How long after its last moment an attempt still counts as alive: clocks differ."""


class Result(NamedTuple):
    """What an attempt came to: the job with its charge and pictures, not written yet."""

    job: Job
    outcome: Outcome | None = None
    error: Sd3Error | None = None


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Attempts at jobs that the caller has claimed."""

    jobs: Jobs
    images: Images
    upstreams: Upstreams
    time: Time

    def make(self, job: Job, init_image: Picture | None, *, until: float) -> Result:
        """Draw and store before the caller ends, at `until` by the monotonic clock.

        Nothing is raised or written. Every call to the upstream leaves its charge on the job.
        """
        outcome = self.upstreams.draw(
            job.request, seeds=job.seeds, init_image=init_image, deadline=until - STORE_SECONDS
        )
        charges = (Charge(attempt=job.attempt, **expense._asdict()) for expense in outcome.expenses)
        charged = job.model_copy(update={"charges": (*job.charges, *charges)})
        if outcome.error:
            return Result(charged, error=outcome.error)
        try:
            records = self.images.put_all(job.folder, outcome.pictures)
        except StorageError as error:
            return Result(charged, error=error)
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
            removed = ContentPolicyError("Every picture was removed for safety.")
            ended = failed(ended, removed, now=self.time.now())
        return Result(ended, outcome)

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


def _marks(job: Job) -> tuple[int, JobStatus, datetime | None]:
    return job.attempt, job.status, job.completed_at


def with_unknown_charge(job: Job) -> Job:
    """The job with what its running attempt may have cost, of which nothing is known."""
    if job.quote is None:
        return job
    charge = Charge(
        attempt=job.attempt,
        upstream=job.quote.upstream,
        outcome=ChargeOutcome.UNKNOWN,
        micros=job.quote.micros,
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


def running(job: Job, *, now: datetime, seconds: float, quote: Quote) -> Job:
    """The job as taken for its next attempt, by a caller that lives for `seconds`.

    `quote` is what the attempt may cost, should nobody live to tell.
    """
    return job.model_copy(
        update={
            "status": JobStatus.RUNNING,
            "attempt": job.attempt + 1,
            "quote": quote,
            "lease_until": now + timedelta(seconds=seconds + LEASE_MARGIN_SECONDS),
        }
    )
