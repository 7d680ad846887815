"""A job, from the request that made it to its end."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sd3.domain.billing import NO_USAGE, Charge, ChargeOutcome, Quote, UsageEntry
from sd3.domain.record import Record
from sd3.domain.request import GenerateRequest
from sd3.errors import Sd3Error

JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What can be the id of a job; other items of its table have ids that cannot."""


class JobStatus(StrEnum):
    """The states of a job; the last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job can never change again."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


class JobError(Record):
    """Why a job or one of its images failed, in the terms of the error table."""

    code: str
    message: str


class ImageRecord(Record):
    """One image of a job: where it is kept and what it is, or why it is not there."""

    index: int
    seed: int
    upstream: str | None = None
    removed_for_safety: bool = False
    safety_score: float | None = None
    key: str | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    error: JobError | None = None


class InboxOrigin(Record):
    """The file in the inbox that a job was made from, and where its answer is written.

    `sequencer` orders the writes of one key, as S3 says; a larger one is later.
    """

    result_key: str
    sequencer: str


class Job(Record):
    """One accepted request, from before anything is paid to after its images are stored.

    Times are UTC. `lease_until` is when a running attempt counts as dead; `attempt` is the
    fence: only the attempt that holds the lease may write what it came to. `failures` are the
    attempts that count towards giving up. `redriven_at` is when the job, having failed, was put
    back into the queue. `expires_at` is when job and images are removed. `quote` is what the
    next attempt, or the one that runs, may cost; `ignored` are fields that its upstream does not
    follow. `version` counts the writes, each of which needs the one that was read; `recorded` is
    what the ledger has for this version.
    """

    id: str
    client_id: str
    status: JobStatus
    created_at: datetime
    expires_at: datetime
    request: GenerateRequest
    seeds: tuple[int, ...]
    init_image_key: str | None = None
    inbox: InboxOrigin | None = None
    attempt: int = 0
    failures: int = 0
    quote: Quote | None = None
    lease_until: datetime | None = None
    redriven_at: datetime | None = None
    completed_at: datetime | None = None
    images: tuple[ImageRecord, ...] = ()
    charges: tuple[Charge, ...] = ()
    ignored: tuple[str, ...] = ()
    prediction_time_ms: float = 0.0
    error: JobError | None = None
    version: int = 0
    recorded: UsageEntry = NO_USAGE

    @property
    def cost_micros(self) -> int:
        """Micro-dollars that were charged, or may have been."""
        return sum(charge.micros for charge in self.charges)

    @property
    def upstream(self) -> str | None:
        """Who drew its images: one upstream, or several with commas between them."""
        names = dict.fromkeys(record.upstream for record in self.images if record.upstream)
        return ",".join(names) or None

    @property
    def folder(self) -> str:
        """Where its images are kept in the bucket."""
        return f"{self.client_id}/{self.id}"


class JobPage(NamedTuple):
    """A part of a client's jobs, newest first, and where the next part begins."""

    jobs: tuple[Job, ...]
    next_position: tuple[str, str] | None
    """created_at and id of the last job that was looked at; None at the end."""


class JobsQuery(BaseModel):
    """GET /jobs: which of a client's jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: JobStatus | None = Field(default=None, description="Jobs in this state only.")
    limit: int = Field(default=20, ge=1, le=100, description="Jobs of a page, at most.")
    cursor: str | None = Field(default=None, description="next_cursor of the page before.")


def usage_of(job: Job) -> UsageEntry:
    """What the ledger is to have for a job: what it may still cost, and what it has come to."""
    return UsageEntry(
        reserved=job.quote.micros if job.quote and not job.status.is_terminal else 0,
        spent=job.cost_micros,
        images=sum(record.key is not None for record in job.images)
        if job.status is JobStatus.SUCCEEDED
        else 0,
    )


def first_version(job: Job) -> Job:
    """A new job as it is kept."""
    return job.model_copy(update={"version": 0, "recorded": usage_of(job)})


def next_version(job: Job) -> Job:
    """A job that was read and changed, as it is kept."""
    return job.model_copy(update={"version": job.version + 1, "recorded": usage_of(job)})


class IdempotencyRecord(NamedTuple):
    """Who holds an Idempotency-Key: a job, and the fingerprint of its request."""

    job_id: str
    fingerprint: str


LEASE_MARGIN_SECONDS: Final = 10
"""How long after its last moment an attempt still counts as alive: clocks differ."""


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
