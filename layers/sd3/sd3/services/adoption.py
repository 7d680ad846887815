"""The adoption of a job whose caller got no answer, by a call that repeats its request.

A client that knows no 202 is held until its job ends. Where that takes too long, it gets a 504 from
the service or from the gateway. OctoAI's SDKs repeat such a call without an Idempotency-Key, and a
second job would be paid too. So the job of every held call has a place, which says until when the
caller is held. From then on, a call with the same request takes the place and its job over. Two
calls that are held at the same time have a job each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sd3.domain.client import RequestContext
from sd3.domain.job import IdempotencyRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest, fingerprint_of
from sd3.errors import GoneError, NotFoundError
from sd3.services.ports import Clock, JobRepository

ADOPTION_WINDOW: Final = timedelta(minutes=10)
"""How long after its last caller a job can be adopted."""

SAME_FAILURE: Final = timedelta(seconds=5)
"""How long a failure with a charge answers repeated calls: one SDK repeats its call at once."""

_PLACES: Final = 8
"""Identical requests of a client that are remembered at one time. More of them have no place."""

_CLOCK_SKEW: Final = timedelta(seconds=1)
"""How far the clocks of two functions may differ: a caller counts as gone so much earlier."""


class Place(NamedTuple):
    """A free place for a new job: its key, and the answered job that had it before, if any."""

    key: str
    instead_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobAdoption:
    """Finds the job that a held call adopts, or the place of the job that it makes."""

    jobs: JobRepository
    clock: Clock

    def find(
        self, request: GenerateRequest, context: RequestContext, *, is_guess: bool = False
    ) -> Job | Place | None:
        """Return a job to answer the call with, or else a free place; None if all are taken.

        None also for a call that is not held or has a key. A guess reads nothing: most calls are
        the first of their kind, and the job's write finds out that a place is taken. Raises
        StorageError.
        """
        if context.hold_until is None or context.idempotency_key:
            return None
        if is_guess:
            return Place(next(_keys(request, context)))
        now, free = self.clock.now(), None
        for key in _keys(request, context):
            record = self.jobs.find_idempotency_record(context.client_id, key, now=now)
            if record is None or record.held_until is None:
                return free or Place(key)
            job = self._job_of(record, context.client_id, now=now)
            left_at = record.held_until - _CLOCK_SKEW
            if job and (job.id == context.job_id or _has_just_failed(job, now=now)):
                return job
            if job is None or _is_over(job, left_at=left_at, now=now):
                free = free or Place(key, record.job_id)
            elif now >= left_at and self._take_over(job, key, record, context):
                return job
        return free

    def _job_of(self, record: IdempotencyRecord, client_id: str, *, now: datetime) -> Job | None:
        try:
            return self.jobs.get(record.job_id, client_id=client_id, now=now)
        except (GoneError, NotFoundError):
            return None

    def _take_over(
        self, job: Job, key: str, record: IdempotencyRecord, context: RequestContext
    ) -> bool:
        until = context.hold_until
        return until is not None and self.jobs.hold(job, key, record, until=until)


def _keys(request: GenerateRequest, context: RequestContext) -> Iterator[str]:
    """Name the places of a request. No client can choose such a key: it is not printable."""
    fingerprint = fingerprint_of(request, scaled_size=context.scaled_size)
    return (f"\0held {number} {fingerprint}" for number in range(_PLACES))


def _has_just_failed(job: Job, *, now: datetime) -> bool:
    """Return whether a job has failed at a cost so shortly ago that an SDK may repeat the call."""
    failed_at = job.completed_at if job.status is JobStatus.FAILED and not job.images else None
    return failed_at is not None and job.cost_micros > 0 and now < failed_at + SAME_FAILURE


def _is_over(job: Job, *, left_at: datetime, now: datetime) -> bool:
    """Return whether a caller that was held until `left_at` has its answer, or nobody wants one."""
    if now > left_at + ADOPTION_WINDOW or job.status is JobStatus.CANCELED:
        return True
    if job.status is JobStatus.FAILED and job.cost_micros == 0:
        return True
    return job.completed_at is not None and job.completed_at < left_at
