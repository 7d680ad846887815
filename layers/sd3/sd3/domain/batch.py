"""A batch: the requests of one file, from its acceptance to the file of its results."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from secrets import token_hex
from types import MappingProxyType
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sd3.domain.batch_lines import LineRange
from sd3.domain.client import ClientLimits
from sd3.domain.inbox import InboxOrigin
from sd3.domain.job import JobError
from sd3.domain.job_list import digits
from sd3.domain.record import Record
from sd3.errors import FieldError, InvalidTransitionError, NotCancelableError, Sd3Error

MAX_OPEN: Final = 10
"""The batches of a client that may be open at the same time, which is about 100,000 lines."""


BATCH_ID: Final = re.compile("[0-9a-f]{28}")


class BatchStatus(StrEnum):
    """The states of a batch; the last three are ends."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the batch can never change again."""
        return self in {BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.CANCELED}


OPEN: Final = tuple(status for status in BatchStatus if not status.is_terminal)


class BatchCounts(NamedTuple):
    """How many lines there are, have ended with images and without, and what they have cost."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    cost_micros: int = 0

    def __add__(self, other: object) -> "BatchCounts":
        """Sum up two parts."""
        if not isinstance(other, BatchCounts):
            return NotImplemented
        return BatchCounts(*map(sum, zip(self, other, strict=True)))


class BatchPart(NamedTuple):
    """The lines of a range, and what became of them.

    `ended` has the numbers of the lines that have ended. `is_made` is whether every line of the
    part has a job or was refused.
    """

    number: int
    range: LineRange
    is_made: bool = False
    ended: frozenset[int] = frozenset()
    completed: int = 0
    cost_micros: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all its lines have ended."""
        return len(self.ended) >= self.range.lines

    @property
    def counts(self) -> BatchCounts:
        """What its lines add to the batch."""
        failed = len(self.ended) - self.completed
        return BatchCounts(self.range.lines, self.completed, failed, self.cost_micros)


class BatchStep(StrEnum):
    """What a message asks for."""

    SPLIT = "split"
    """Cut the file into parts."""
    MAKE = "make"
    """Make the jobs of a part."""
    CANCEL = "cancel"
    """Cancel the jobs of a part; without a part, those of all parts."""
    FINISH = "finish"
    """Write the results."""


class BatchTask(NamedTuple):
    """A step of a batch, as a message names it."""

    client_id: str
    batch_id: str
    step: BatchStep
    part: int | None = None


class Batch(Record):
    """One accepted file of requests.

    Its life is these methods, as a job's is. Each returns the next state and writes nothing.

    ======== ======================== =========== ==============================================
    method   from                     to          when
    ======== ======================== =========== ==============================================
    split    validating               in_progress its file is cut into parts of some lines
    cancel   validating, in_progress  cancelling  the client ends it
    finalize in_progress              finalizing  every line has ended
    finish   finalizing               completed   the results are written
    fail     all but ends             failed      the file is none of a batch, or it was given up
    ======== ======================== =========== ==============================================

    While it is cancelling it is split and finalized all the same, and finishes as canceled. So
    every line of every batch has a result. `limits` are those of the token that sent it, but for
    the rate: a batch counts once. `counts` are known once it has ended. `version` counts the
    writes.
    """

    id: str
    client_id: str
    client_name: str | None = None
    status: BatchStatus = BatchStatus.VALIDATING
    created_at: datetime
    expires_at: datetime
    completed_at: datetime | None = None
    limits: Mapping[str, str] = Field(default_factory=dict)
    metadata: dict[str, str] = Field(default_factory=dict)
    inbox: InboxOrigin | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    cost_micros: int = 0
    error: JobError | None = None
    version: int = 0

    def split(self, lines: int) -> Self:
        """Note how many lines it has. One that is cancelling stays so."""
        if self.status not in {BatchStatus.VALIDATING, BatchStatus.CANCELLING}:
            raise InvalidTransitionError(f"A batch that is {self.status} cannot be split.")
        is_canceled = self.status is BatchStatus.CANCELLING
        status = self.status if is_canceled else BatchStatus.IN_PROGRESS
        return self._with(status=status, total=lines)

    def cancel(self) -> Self:
        """End the lines that wait. Raises NotCancelableError for one that has ended, or nearly."""
        if self.status.is_terminal or self.status is BatchStatus.FINALIZING:
            raise NotCancelableError(f"The batch has ended: it is {self.status}.")
        return self._with(status=BatchStatus.CANCELLING)

    def finalize(self) -> Self:
        """Begin to write the results."""
        if self.status is BatchStatus.IN_PROGRESS:
            return self._with(status=BatchStatus.FINALIZING)
        return self

    def finish(self, counts: BatchCounts, *, now: datetime) -> Self:
        """End with results that are written."""
        ends = {
            BatchStatus.FINALIZING: BatchStatus.COMPLETED,
            BatchStatus.CANCELLING: BatchStatus.CANCELED,
        }
        if self.status not in ends:
            raise InvalidTransitionError(f"A batch that is {self.status} cannot finish.")
        return self._with(status=ends[self.status], completed_at=now, **counts._asdict())

    def fail(self, error: Sd3Error, *, now: datetime) -> Self:
        """End without results."""
        if self.status.is_terminal:
            raise InvalidTransitionError(f"A batch that is {self.status} cannot fail.")
        failure = JobError(code=error.code, message=error.message)
        return self._with(status=BatchStatus.FAILED, completed_at=now, error=failure)

    @property
    def is_split(self) -> bool:
        """Whether its parts are known."""
        return self.total > 0

    @property
    def counts(self) -> BatchCounts:
        """What its record says of its lines, which is final once it has ended."""
        return BatchCounts(self.total, self.completed, self.failed, self.cost_micros)

    @property
    def line_limits(self) -> ClientLimits:
        """The limits of each line."""
        return ClientLimits.from_context(self.limits)._replace(requests_per_minute=None)

    @property
    def file_key(self) -> str:
        """Where its lines are kept in the images bucket."""
        return f"{folder_of(self.client_id, self.id)}/requests.jsonl"

    @property
    def results_key(self) -> str:
        """Where its results are kept in the images bucket."""
        return f"{folder_of(self.client_id, self.id)}/results.jsonl"

    def _with(self, **changes: object) -> Self:
        return self.model_copy(update=changes)


class BatchesQuery(BaseModel):
    """GET /batches: which of a client's batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = Field(
        default=20, description="Batches of a page, at most."
    )
    cursor: Annotated[str, Field(pattern=f"^{BATCH_ID.pattern}$")] | None = Field(
        default=None, description="next_cursor of the page before."
    )


class NewBatch(NamedTuple):
    """Who sends a batch, and how.

    `store` is given the key under which it stores the lines, and raises what is wrong with them. A
    `key` that was used before leads to the batch that has it, if the `fingerprint` is the same.
    """

    client_id: str
    store: Callable[[str], None]
    fingerprint: str
    key: str | None = None
    client_name: str | None = None
    limits: ClientLimits = ClientLimits()
    metadata: Mapping[str, str] = MappingProxyType({})
    inbox: InboxOrigin | None = None


class BatchKey(NamedTuple):
    """Which batch has an Idempotency-Key, and the fingerprint of its request."""

    batch_id: str
    fingerprint: str


class RefusedLine(Record):
    """A line that no job was made of, and why."""

    line: int
    custom_id: str | None
    code: str
    message: str
    detail: tuple[FieldError, ...] = ()
    is_canceled: bool = False


def folder_of(client_id: str, batch_id: str) -> str:
    """Return where the files of a batch are. No job's id is `batches`."""
    return f"{client_id}/batches/{batch_id}"


def new_batch_id(now: datetime) -> str:
    """Make the id of a batch. Ids sort as the times at which they were made."""
    return f"{int(now.timestamp() * 1000):012x}{token_hex(8)}"


def job_id_of(batch_id: str, line: int) -> str:
    """Return the id of a line's job. A line that comes again leads to the same job."""
    return hashlib.sha256(f"{batch_id}/{line}".encode()).hexdigest()[:32]
