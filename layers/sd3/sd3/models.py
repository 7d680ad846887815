"""A job, from the request that made it to the answer that tells of it."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sd3.contract import GenerateRequest
from sd3.errors import Sd3Error
from sd3.images import Picture
from sd3.money import NOTHING, Booking

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


class _Record(BaseModel):
    """What is kept: immutable, and read back from JSON as it was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class JobError(_Record):
    """Why a job or one of its pictures failed, in the terms of the error table."""

    code: str
    message: str


class ChargeOutcome(StrEnum):
    """What a call to the upstream did to the operator's bill."""

    CHARGED = "charged"
    UNKNOWN = "unknown"
    FREE = "free"


class Expense(NamedTuple):
    """What calls to an upstream cost, or may have cost, in micro-dollars."""

    upstream: str
    outcome: ChargeOutcome
    micros: int


class DrawnPicture(NamedTuple):
    """One picture as an upstream answered it.

    `picture` is None when it was removed for safety, or, with an `error`, not drawn.
    """

    seed: int
    picture: Picture | None
    safety_score: float | None = None
    upstream: str | None = None
    error: JobError | None = None


class Drawing(NamedTuple):
    """What one call to an upstream drew, in the order of its seeds."""

    pictures: tuple[DrawnPicture, ...]
    prediction_time_ms: float


class Outcome(NamedTuple):
    """What drawing a request came to: a picture for each seed, in order, or why there is none.

    Some pictures can have failed where others were drawn. `expenses` are of all calls, whatever
    became of them; `ignored` are fields of the request that the upstream does not follow.
    """

    pictures: tuple[DrawnPicture, ...] = ()
    prediction_time_ms: float = 0.0
    expenses: tuple[Expense, ...] = ()
    ignored: tuple[str, ...] = ()
    error: Sd3Error | None = None


class Link(NamedTuple):
    """A signed address and when it ends (UTC)."""

    url: str
    expires_at: datetime


class ImageRecord(_Record):
    """One picture of a job: where it is kept and what it is, or why it is not there."""

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


class Charge(_Record):
    """What an attempt's calls to an upstream cost, or may have cost, in micro-dollars."""

    attempt: int
    upstream: str
    outcome: ChargeOutcome
    micros: int


class Quote(_Record):
    """What an attempt can cost at the most, in micro-dollars, and by which upstream."""

    upstream: str
    micros: int


class InboxOrigin(_Record):
    """The file in the inbox that a job was made from, and where its answer is written.

    `sequencer` orders the writes of one key, as S3 says; a larger one is later.
    """

    answer_key: str
    sequencer: str


class Job(_Record):
    """One accepted request, from before anything is paid to after its pictures are stored.

    Times are UTC. `lease_until` is when a running attempt counts as dead; `attempt` is the
    fence: only the attempt that holds the lease may write what it came to. `failures` are the
    attempts that count towards giving up. `redriven_at` is when the job, having failed, was put
    back into the queue. `expires_at` is when job and pictures are removed. `quote` is what the
    next attempt, or the one that runs, may cost; `ignored` are fields that its upstream does not
    follow. `version` counts the writes, each of which needs the one that was read; `booked` is
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
    booked: Booking = NOTHING

    @property
    def cost_micros(self) -> int:
        """Micro-dollars that were charged, or may have been."""
        return sum(charge.micros for charge in self.charges)

    @property
    def upstream(self) -> str | None:
        """Who drew its pictures: one upstream, or several with commas between them."""
        names = dict.fromkeys(record.upstream for record in self.images if record.upstream)
        return ",".join(names) or None

    @property
    def folder(self) -> str:
        """Where its pictures are kept in the bucket."""
        return f"{self.client_id}/{self.id}"


class JobPage(NamedTuple):
    """A part of a client's jobs, newest first, and where the next part begins."""

    jobs: tuple[Job, ...]
    next_position: tuple[str, str] | None
    """created_at and id of the last job that was looked at; None at the end."""


class ImageAnswer(BaseModel):
    """A picture as the client sees it: OctoAI's four fields, and where to fetch it."""

    index: int
    image_b64: str | None = None
    url: str | None = None
    expires_at: datetime | None = None
    seed: int
    removed_for_safety: bool
    safety_score: float | None
    width: int | None
    height: int | None
    content_type: str | None
    bytes: int | None
    sha256: str | None
    upstream: str | None
    error: JobError | None


class JobAnswer(BaseModel):
    """A job as the client sees it: OctoAI's `images` and `prediction_time_ms`, and the rest."""

    id: str
    status: JobStatus
    created_at: datetime
    completed_at: datetime | None
    images: list[ImageAnswer]
    prediction_time_ms: float
    cost_usd: float
    upstream: str | None = Field(description="Who drew it.")
    ignored: list[str] = Field(description="Fields that this upstream did not follow as asked.")
    metadata: dict[str, str]
    error: JobError | None


class JobsQuery(BaseModel):
    """GET /jobs: which of a client's jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: JobStatus | None = Field(default=None, description="Jobs in this state only.")
    limit: int = Field(default=20, ge=1, le=100, description="Jobs of a page, at most.")
    cursor: str | None = Field(default=None, description="next_cursor of the page before.")


class JobsAnswer(BaseModel):
    """GET /jobs: a page of a client's jobs."""

    jobs: list[JobAnswer]
    next_cursor: str | None


class HealthAnswer(BaseModel):
    """GET /health."""

    status: Literal["ok"] = "ok"


class FaultAnswer(BaseModel):
    """One wrong field of a 422, in FastAPI's shape."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a 2xx."""

    code: str
    message: str
    request_id: str
    job_id: str | None = None
    detail: list[FaultAnswer] | None = None
