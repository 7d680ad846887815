"""A job, from the request that made it to its end."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Self

from sd3.domain.billing import NO_USAGE, Charge, ChargeOutcome, Quote, UsageEntry
from sd3.domain.inbox import InboxOrigin
from sd3.domain.record import Record
from sd3.domain.reuse import ReusedResult
from sd3.domain.stored_request import StoredRequest
from sd3.errors import InvalidTransitionError, Sd3Error

JOB_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
"""What can be the id of a job; other items of its table have ids that cannot."""


def unpadded(text: str) -> str:
    """Return the id of a job without the padding of base64, which a URL may write as `%3D`.

    The gateway's ids end with it, and it names a job by its own id when a function is too slow.
    """
    return text.replace("%3D", "=").replace("%3d", "=").rstrip("=")


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


UNSIGNED: Final = "unsigned"
"""What the record says of a mark without a signature, since the secret could not be read."""


class ImageRecord(Record):
    """One image of a job: where it is kept and what it is, or why it is not there."""

    index: int
    seed: int
    upstream: str | None = None
    model: str | None = None
    removed_for_safety: bool = False
    safety_score: float | None = None
    key: str | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    provenance: str | None = None
    c2pa: bool | None = None
    thumbhash: str | None = None
    error: JobError | None = None

    @property
    def is_reusable(self) -> bool:
        """Whether it is stored, with all signatures that its deployment has."""
        return bool(self.key) and self.provenance != UNSIGNED and self.c2pa is not False


class Reproduction(Record):
    """Which job a job reproduces, and what has generated that job's images.

    Without a `model`, it is not known which one: the settings left it to the upstream.
    """

    job_id: str
    upstream: str
    model: str | None = None


SINGLE: Final = "single"
"""The lane of jobs that are requests of their own."""

LEASE_MARGIN_SECONDS: Final = 10
"""How long after its last moment an attempt still counts as alive: clocks differ."""


class Job(Record):
    """One accepted request, from before anything is paid to after its images are stored.

    Its life is these methods. Each returns the next state of the job and writes nothing; the
    repository writes it, and refuses a write by whoever read an older version.

    ======== ================= ========= =====================================================
    method   from              to        when
    ======== ================= ========= =====================================================
    start    queued            running   a function takes the job for an attempt
    requeue  running           queued    the attempt failed in a way that may pass, or it died
    succeed  running           succeeded at least one image is stored
    fail     queued, running   failed    nothing can be generated, or it was given up
    cancel   queued, running   canceled  the client ended it
    redrive  failed            queued    the operator wants it tried again
    reuse    queued            succeeded an earlier job's images answer it
    ======== ================= ========= =====================================================

    Every other change of the status raises InvalidTransitionError. `note_images`, `charge`,
    `charge_unknown`, `settle` and `back_off` note what an attempt came to, and leave the status as
    it is.

    Times are UTC. `attempt` is the fencing token: it only grows, and only the attempt that holds
    the lease may write its result. After `lease_until` a running attempt counts as dead.
    `started_at` is when the last attempt began. `failures` counts the attempts after which the job
    is given up. Before `not_before` no attempt
    begins, whatever messages come for the job. `quote` is the most that the
    current or next attempt may cost. `ignored` names the fields that its upstream does not follow.
    `redriven_at` is when the job was last put back by `redrive`, and `redriven_attempt` the last
    attempt before that. `is_final` is whether it failed in a way that would be the same again.
    After `expires_at` the job and its images are removed. `version` counts the writes. From
    `cancel_at` on, a job that waits and has cost nothing is canceled. `budgets`
    names whose budgets its first quote was reserved in: its client's, or that of a group.
    `scaled_size` is what its images are scaled to before they are stored. A `reproduction` may call
    only the upstream that has generated the images of the job that it reproduces. Under
    `result_key` its result can be found again, and `reused_from` is the job that it has copies of
    instead.
    """

    id: str
    client_id: str
    client_name: str | None = None
    status: JobStatus
    created_at: datetime
    expires_at: datetime
    request: StoredRequest
    seeds: tuple[int, ...]
    init_image_key: str | None = None
    inbox: InboxOrigin | None = None
    scaled_size: tuple[int, int] | None = None
    reproduction: Reproduction | None = None
    attempt: int = 0
    failures: int = 0
    quote: Quote | None = None
    lease_until: datetime | None = None
    started_at: datetime | None = None
    not_before: datetime | None = None
    cancel_at: datetime | None = None
    redriven_at: datetime | None = None
    redriven_attempt: int = 0
    completed_at: datetime | None = None
    images: tuple[ImageRecord, ...] = ()
    charges: tuple[Charge, ...] = ()
    ignored: tuple[str, ...] = ()
    prediction_time_ms: float = 0.0
    error: JobError | None = None
    is_final: bool = False
    version: int = 0
    budgets: tuple[str, ...] = ()
    result_key: str | None = None
    reused_from: ReusedResult | None = None

    def start(self, *, now: datetime, seconds: float, quote: Quote) -> Self:
        """Begin an attempt by a caller that lives for `seconds` and may spend `quote`."""
        return self._to(
            JobStatus.RUNNING,
            by="start",
            attempt=self.attempt + 1,
            quote=quote,
            lease_until=now + timedelta(seconds=seconds + LEASE_MARGIN_SECONDS),
            started_at=now,
            not_before=None,
        )

    def requeue(self, *, counted: bool) -> Self:
        """Wait for the next attempt; `counted` is whether this one counts as a failure."""
        failures = self.failures + counted
        return self._to(JobStatus.QUEUED, by="requeue", lease_until=None, failures=failures)

    def back_off(self, *, until: datetime) -> Self:
        """Note when the next attempt begins at the earliest."""
        return self._with(not_before=until)

    def succeed(self, *, now: datetime) -> Self:
        """End with the images that were noted, of which at least one is stored."""
        return self._to(JobStatus.SUCCEEDED, by="succeed", completed_at=now)

    def fail(self, error: Sd3Error, *, now: datetime) -> Self:
        """End with an error."""
        failure = JobError(code=error.code, message=error.message)
        return self._to(
            JobStatus.FAILED,
            by="fail",
            completed_at=now,
            error=failure,
            is_final=not error.retryable,
        )

    def cancel(self, *, now: datetime) -> Self:
        """End for the client; a running attempt counts with its quote until it settles."""
        return self._to(
            JobStatus.CANCELED,
            by="cancel",
            completed_at=now,
            lease_until=None,
            charges=self.charge_unknown().charges,
        )

    def redrive(self, *, now: datetime) -> Self:
        """Try again from the start; what it has cost so far stays."""
        return self._to(
            JobStatus.QUEUED,
            by="redrive",
            failures=0,
            redriven_at=now,
            redriven_attempt=self.attempt,
            lease_until=None,
            not_before=None,
            cancel_at=None,
            completed_at=None,
            images=(),
            error=None,
            is_final=False,
        )

    def reuse(self, earlier: "Job", copies: tuple[ImageRecord, ...], *, now: datetime) -> Self:
        """End with copies of the images of an earlier job, which are free."""
        return self._to(
            JobStatus.SUCCEEDED,
            by="reuse",
            completed_at=now,
            images=copies,
            ignored=earlier.ignored,
            quote=None,
            result_key=None,
            reused_from=ReusedResult(
                job_id=earlier.id, completed_at=earlier.completed_at or earlier.created_at
            ),
        )

    def note_images(
        self,
        images: tuple[ImageRecord, ...],
        *,
        prediction_time_ms: float,
        ignored: tuple[str, ...],
    ) -> Self:
        """Note what the running attempt has generated, and what became of each image."""
        return self._with(images=images, prediction_time_ms=prediction_time_ms, ignored=ignored)

    def charge(self, charges: Iterable[Charge]) -> Self:
        """Note what calls of the running attempt cost."""
        own = tuple(one.model_copy(update={"attempt": self.attempt}) for one in charges)
        return self._with(charges=(*self.charges, *own))

    def charge_unknown(self) -> Self:
        """Note that the running attempt may have cost its quote. A job that waits has none."""
        if self.status is not JobStatus.RUNNING or self.quote is None:
            return self
        unknown = Charge(
            upstream=self.quote.upstream, outcome=ChargeOutcome.UNKNOWN, micros=self.quote.micros
        )
        return self.charge([unknown])

    def settle(self, charges: tuple[Charge, ...]) -> Self:
        """Replace the charges of a canceled job by what its last attempt has really cost."""
        if self.status is not JobStatus.CANCELED:
            raise InvalidTransitionError(f"A job that is {self.status} cannot settle.")
        return self._with(charges=charges)

    @property
    def usage(self) -> UsageEntry:
        """What the ledger is to have for this state: what it may still cost, and what it cost."""
        stored = sum(record.key is not None for record in self.images)
        return UsageEntry(
            reserved=self.quote.micros if self.quote and not self.status.is_terminal else 0,
            spent=self.cost_micros,
            images=stored if self.status is JobStatus.SUCCEEDED else 0,
        )

    @property
    def lane(self) -> str:
        """In which of the queues it waits: jobs are counted and worked on by lane."""
        return SINGLE

    @property
    def queued_at(self) -> datetime:
        """Since when it waits, or has waited, for its first attempt."""
        return self.redriven_at or self.created_at

    def is_overdue(self, now: datetime) -> bool:
        """Whether it waits, has cost nothing, and is wanted no more."""
        is_late = self.cancel_at is not None and self.cancel_at <= now
        return is_late and self.status is JobStatus.QUEUED and not self.cost_micros

    @property
    def cost_micros(self) -> int:
        """Micro-dollars that were charged, or may have been."""
        return sum(charge.micros for charge in self.charges)

    @property
    def upstream(self) -> str | None:
        """Who generated its images: one upstream, or several with commas between them."""
        names = dict.fromkeys(record.upstream for record in self.images if record.upstream)
        return ",".join(names) or None

    @property
    def is_reusable(self) -> bool:
        """Whether all its images were generated for it, and are stored and signed."""
        is_whole = bool(self.images) and all(record.is_reusable for record in self.images)
        return self.status is JobStatus.SUCCEEDED and is_whole and self.reused_from is None

    @property
    def was_called_for(self) -> bool:
        """Whether an upstream was called for it since it was created or last redriven."""
        return any(charge.attempt > self.redriven_attempt for charge in self.charges)

    @property
    def folder(self) -> str:
        """Where its images are kept in the bucket."""
        return f"{self.client_id}/{self.id}"

    def _to(self, status: JobStatus, *, by: str, **changes: object) -> Self:
        if self.status not in TRANSITIONS[by]:
            raise InvalidTransitionError(f"A job that is {self.status} cannot {by}.")
        return self._with(status=status, **changes)

    def _with(self, **changes: object) -> Self:
        return self.model_copy(update=changes)


_OPEN: Final = frozenset((JobStatus.QUEUED, JobStatus.RUNNING))
TRANSITIONS: Final[Mapping[str, frozenset[JobStatus]]] = {
    "start": frozenset((JobStatus.QUEUED,)),
    "requeue": frozenset((JobStatus.RUNNING,)),
    "succeed": frozenset((JobStatus.RUNNING,)),
    "fail": _OPEN,
    "cancel": _OPEN,
    "redrive": frozenset((JobStatus.FAILED,)),
    "reuse": frozenset((JobStatus.QUEUED,)),
}
"""From which states each method of Job leads on."""


class JobChange(NamedTuple):
    """One write of a job: the job before it, None when the write made the job, and after it."""

    before: Job | None
    after: Job

    @property
    def usage(self) -> UsageEntry:
        """What the write changes in the ledger."""
        return self.after.usage - (self.before.usage if self.before else NO_USAGE)


class IdempotencyRecord(NamedTuple):
    """Which job has an Idempotency-Key, and the fingerprint of that job's request."""

    job_id: str
    fingerprint: str
    held_until: datetime | None = None
    """Until when a caller is held for the job; None if the client chose the key."""
