"""A world in which anything can happen between any two calls of a use case, and is counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from ops.redrive import put_back
from sd3.domain.billing import NO_USAGE, UsageEntry, day_of
from sd3.domain.client import ClientLimits
from sd3.domain.generation import GenerationTask, UpstreamResult
from sd3.domain.image import Image
from sd3.domain.job import Job, JobChange, JobStatus
from sd3.errors import (
    FieldError,
    InvalidRequestError,
    Sd3Error,
    StorageError,
    UnexpectedError,
)
from sd3.services.changes import JobChanges
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeTime,
    FakeUpstream,
    make_service,
    make_worker,
)

VISIBILITY_SECONDS: Final = 1800
FAILED_SECONDS: Final = 60
"""Seconds after which the worker's function receives a message again when a use case raised."""


FROM_ENDS: Final = {
    (JobStatus.CANCELED, JobStatus.CANCELED),
    (JobStatus.FAILED, JobStatus.QUEUED),
}
"""Where a job can go from an end: its charge is corrected, or its operator puts it back."""


class Happen(Protocol):
    """Has anything happen; a `fault` is a StorageError."""

    def __call__(self, *, fault: bool = True) -> None: ...


class Bug(Exception):  # noqa: N818 - no error of anybody's
    """What nobody expects."""


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Message:
    """One message of the queue; times are the clock's seconds."""

    job_id: str
    sent_at: float
    visible_at: float
    receives: int = 0


class WatchedJobs(FakeJobs):
    """The jobs table; it holds every write against what a job's life may be."""

    def __init__(self, stream: Callable[[Job], None]) -> None:
        """`stream` gets every job that is created."""
        super().__init__()
        self.published: Counter[str] = Counter()
        self.stream = stream

    def _write(self, job: Job, *, version: int) -> Job:
        old = self.items.get(job.id)
        if old:
            assert job.attempt >= old.attempt
            if old.status.is_terminal:
                assert (old.status, job.status) in FROM_ENDS
        if job.status is JobStatus.SUCCEEDED:
            self.published[job.id] += 1
        assert job.images == () or job.status in {JobStatus.SUCCEEDED, JobStatus.FAILED}
        attempts = [charge.attempt for charge in job.charges]
        assert attempts == sorted(set(attempts)), "one charge for each attempt, in order"
        assert max(attempts, default=0) <= job.attempt
        return super()._write(job, version=version)

    def _create(self, job: Job, limits: ClientLimits) -> Job:
        stored = super()._create(job, limits)
        committed = self.ledger[job.client_id, day_of(job.created_at)].committed
        assert limits.daily_budget_micros is None or committed <= limits.daily_budget_micros
        self.stream(stored)
        return stored

    def sums(self) -> dict[tuple[str, str], UsageEntry]:
        """Compute the ledger from the jobs, deleted ones included."""
        sums: dict[tuple[str, str], UsageEntry] = {}
        for job in [*self.items.values(), *self.deleted.values()]:
            day = (job.client_id, day_of(job.created_at))
            sums[day] = sums.get(day, NO_USAGE) + job.usage
        return sums


class WatchedImages(FakeImages):
    """The bucket; an init image that is not there cannot be generated from."""

    def get_init_image(self, key: str) -> Image:
        if key not in self.objects:
            field_error = FieldError(("body", "init_image"), "is no longer stored", "picture")
            raise InvalidRequestError([field_error])
        return super().get_init_image(key)


class PaidUpstream(FakeUpstream):
    """Counts the calls that may be on the bill, by the job that is under way."""

    def __init__(
        self,
        fails: Callable[[], Sd3Error | None],
        between: Happen,
        acting: Sequence[str],
    ) -> None:
        super().__init__()
        self.fails, self.between, self.acting = fails, between, acting
        self.paid: Counter[str] = Counter()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        self.between()
        error = self.fails()
        if error is None or error.may_have_charged:
            self.paid[self.acting[-1]] += 1
        self.between(fault=False)
        if error:
            raise error
        return super().generate(task)


class Between:
    """A port with `happen` before and after each call."""

    def __init__(self, port: Any, happen: Happen) -> None:
        self._port, self._happen = port, happen

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **values: Any) -> Any:
            self._happen()
            result = getattr(self._port, name)(*arguments, **values)
            self._happen()
            return result

        return call


class NoLedger:
    """Records nothing: WatchedJobs has a ledger of its own."""

    def record(self, changes: Iterable[JobChange], *, now: datetime) -> None: ...


class World:
    """Use cases over ports that are interrupted by `happen`, and what became of their jobs."""

    def __init__(self, happen: Happen, fails: Callable[[], Sd3Error | None]) -> None:
        self.clock, self.jobs, self.images = FakeTime(), WatchedJobs(self.guard), WatchedImages()
        self.messages: list[Message] = []
        self.acting: list[str] = []
        """The jobs that are under way, the innermost last."""
        self.upstream = PaidUpstream(fails, happen, self.acting)
        self.disturbed: set[str] = set()
        """Jobs of which an attempt has died, or was slower than its lease."""
        ports: dict[str, Any] = {
            "jobs": Between(self.jobs, happen),
            "images": Between(self.images, happen),
            "upstream": self.upstream,
            "clock": self.clock,
        }
        self.interrupted: Any = ports["jobs"]
        self.service = make_service(queue=Between(self, happen), **ports)  # type: ignore[arg-type] # a port, with interruptions
        self.worker = make_worker(**ports)

    def send(self, job: Job, *, delay_seconds: int = 0) -> None:
        """Take a message, as the queue does."""
        now = self.clock.slept
        self.messages.append(Message(job.id, now, now + delay_seconds))

    def send_all(self, delayed: Sequence[tuple[Job, int]]) -> None:
        """Take messages, as the queue does."""
        for job, seconds in delayed:
            self.send(job, delay_seconds=seconds)

    def guard(self, job: Job) -> None:
        """Process a job that is new in the stream, which outlives the process that wrote it."""
        changes = JobChanges(usage=NoLedger(), queue=self, clock=self.clock.time())
        changes.process([JobChange(None, job)])

    def deliver(self, message: Message) -> None:
        """Hand a message to a worker, and do with it what SQS and the function do."""
        message.receives += 1
        message.visible_at = self.clock.slept + VISIBILITY_SECONDS
        with self.during(message.job_id):
            wait = self._work(message)
            if wait is None and message in self.messages:
                self.messages.remove(message)
            if wait is not None:
                message.visible_at = self.clock.slept + wait

    def _work(self, message: Message) -> int | None:
        sent_at = NOON + timedelta(seconds=message.sent_at)
        try:
            return self.worker.process(
                message.job_id, seconds=300, sent_at=sent_at, receives=message.receives
            )
        except (StorageError, UnexpectedError, Bug):
            return FAILED_SECONDS

    def give_up(self, message: Message) -> None:
        """Hand a message to the dead letters' function."""
        self.disturbed.add(message.job_id)  # what an attempt that still runs costs stays unknown
        with self.during(message.job_id):
            self.worker.give_up(message.job_id, Sd3Error("The queue has given up."))
            if message in self.messages:
                self.messages.remove(message)

    def put_back(self, job: Job) -> None:
        """Put a failed job back into the queue, as its operator does."""
        self.disturbed.add(job.id)  # its attempts are counted anew
        with self.during(job.id):
            put_back(job, self.interrupted, self, now=self.clock.time().now())

    @contextmanager
    def during(self, job_id: str) -> Iterator[None]:
        """Act on a job; a crash or an error ends that, and nothing around it."""
        self.acting.append(job_id)
        try:
            yield
        except Crash:
            self.disturbed.add(job_id)
        except (Sd3Error, Bug):
            pass  # a client's response, or a message that is redelivered
        finally:
            self.acting.pop()
