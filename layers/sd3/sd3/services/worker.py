"""The use case of the worker: it works on each message's job until the job has ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sd3.domain.billing import Quote
from sd3.domain.image import Image
from sd3.domain.job import Job, JobStatus
from sd3.domain.stored_request import is_known
from sd3.errors import (
    GoneError,
    LeaseLostError,
    NotFoundError,
    RequestError,
    Sd3Error,
    StorageError,
    UnexpectedError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamUnavailableError,
)
from sd3.services.cancellation import JobCancellation
from sd3.services.execution import LONGEST_SECONDS, Execution, JobExecutor
from sd3.services.ports import Clock, ImageGenerator, ImageStorage, JobRepository, Metrics
from sd3.services.progress import ProgressRecorder

MAX_FAILURES: Final = 5
"""Failed attempts after which a job is given up. Each of them may have been paid."""

MAX_WAIT_SECONDS: Final = 900
"""The longest backoff between two attempts: an outage of a minute should not cost an hour."""

EXACT_WAITS: Final = 60
"""For so many receives, a job's message comes back when our own rate limiter says. Later receives
also back off, since the queue gives up after 180 receives."""

BATCH_WINDOW: Final = timedelta(hours=24)
"""How long the line of a batch may wait for the lines before it, and for an upstream."""

SPREAD_SECONDS: Final = 20
"""The longest time over which the jobs that our own rate limiter delays are spread. The limiter
reserves slots so long ahead."""

_WRITTEN_SECONDS: Final = 150
"""A message is sent before its job is written. Functions that write new jobs live no longer than
this, so a job that is missing after this time will never be written."""
_REREAD_SECONDS: Final = 2
_AT_ONCE: Final = timedelta(seconds=1)
_READS_AT_ONCE: Final = 20
_BETWEEN_READS_SECONDS: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Works on the jobs of the queue, and on jobs whose function died."""

    jobs: JobRepository
    images: ImageStorage
    generator: ImageGenerator
    executor: JobExecutor
    cancellation: JobCancellation
    progress: ProgressRecorder
    clock: Clock
    metrics: Metrics
    max_queue: timedelta

    def process(
        self, job_id: str, *, seconds: float, sent_at: datetime, receives: int
    ) -> int | None:
        """Work on a job for at most `seconds`; `receives` counts the receives of its message.

        Returns None when nothing is left to do, and otherwise the seconds until the message must
        be received again. Raises StorageError, and UnexpectedError for a bug, after which the job
        has ended.
        """
        since = self.clock.monotonic()
        try:
            job = self._find(job_id, sent_at)
        except GoneError:
            return None
        except NotFoundError:
            age = (self.clock.now() - sent_at).total_seconds()
            # Waiting for as long as the message's age keeps the number of reads small.
            return max(_REREAD_SECONDS, int(age)) if age < _WRITTEN_SECONDS else None
        if job.status.is_terminal:
            return None
        # Each time: SQS forgets what was received three times. Lines of batches may wait for long.
        if job.status is JobStatus.QUEUED and not job.batch:
            self._measure("QueueAgeSeconds", job, _age(job, self.clock.now()))
        if wait := self._seconds_to_wait(job):
            return wait
        try:
            return self._attempt(job, since=since, until=since + seconds, receives=receives)
        except LeaseLostError:
            return _REREAD_SECONDS

    def _seconds_to_wait(self, job: Job) -> int | None:
        """Return for how long no attempt may begin: one is alive, or the last one backs off.

        A second message must not shorten a backoff.
        """
        now = self.clock.now()
        if job.status is JobStatus.RUNNING and job.lease_until and job.lease_until >= now:
            return int((job.lease_until - now).total_seconds()) + 1
        if job.is_overdue(now):
            return None
        if job.status is JobStatus.QUEUED and job.not_before and job.not_before > now:
            return int((job.not_before - now).total_seconds()) + 1
        return None

    def give_up(self, job_id: str, error: Sd3Error) -> None:
        """Fail a job that the queue gave up, unless it has already ended. Raises StorageError."""
        now = self.clock.now()
        try:
            job = self.jobs.get(job_id, now=now)
            if not job.status.is_terminal:
                self._save(job.charge_unknown().fail(error, now=now), job)
        except (NotFoundError, GoneError):
            return
        except LeaseLostError as lost:
            raise StorageError("The job changed while it was ended.") from lost

    def _find(self, job_id: str, sent_at: datetime) -> Job:
        """Read a job. A message without a delay can arrive milliseconds before its job."""
        for _ in range(_READS_AT_ONCE):
            now = self.clock.now()
            try:
                return self.jobs.get(job_id, now=now)
            except NotFoundError:
                if now - sent_at > _AT_ONCE:
                    raise
            self.clock.sleep(_BETWEEN_READS_SECONDS)
        raise NotFoundError("There is no such job.")

    def _attempt(self, read: Job, *, since: float, until: float, receives: int) -> int | None:
        job, now = read, self.clock.now()
        if self._is_canceled(read):
            return None
        if job.status is JobStatus.RUNNING:
            # Its function died, before or after the upstream's response.
            job = job.charge_unknown().requeue(counted=True)
        if reason := self._given_up(job, now):
            self._save(job.fail(reason, now=now), read)
            return None
        if not is_known(job.request):
            raise StorageError("The job's request has values that only a later version knows.")
        # Read before the job starts, so that no read can fail between the lease and the paid call.
        try:
            generator, init_image = self._prepared(job)
        except RequestError as error:
            self._save(job.fail(error, now=now), read)
            return None
        if self._is_canceled(read):  # its time may have ended while its init image was read
            return None
        quote = generator.quote(job.request, has_image=init_image is not None)
        started = self._start(job, read, until=until, quote=quote)
        execution = self.executor.execute(
            started,
            init_image,
            until=until,
            count_images=self.progress.counter(started),
        )
        try:
            wait = self._finish(execution, receives=receives)
        except Sd3Error:
            raise
        except Exception as bug:
            raise self.executor.abandon(started, execution, bug) from bug
        finally:
            self.executor.measure(execution, since=since)
        if execution.error is None:
            self._note_pace(job, generator, seconds=self.clock.monotonic() - since)
        return wait

    def _is_canceled(self, job: Job) -> bool:
        """Cancel a job that is overdue; return whether it was."""
        now = self.clock.now()
        return self.cancellation.cancel_overdue(job, now=now).status is JobStatus.CANCELED

    def _prepared(self, job: Job) -> tuple[ImageGenerator, Image | None]:
        """Return who may generate a job, and its init image. Raises RequestError, StorageError."""
        generator, key = self.generator.only(job.reproduction), job.init_image_key
        if job.failures:  # perhaps it has just been measured that it takes too long
            generator.check(job.request, seconds=LONGEST_SECONDS)
        return generator, self.images.get_init_image(key) if key else None

    def _note_pace(self, job: Job, generator: ImageGenerator, *, seconds: float) -> None:
        has_image = job.init_image_key is not None
        apart = generator.seconds_apart(job.request, has_image=has_image, seconds=seconds)
        self.progress.note_end(job, seconds=seconds, apart=apart)

    def _start(self, job: Job, read: Job, *, until: float, quote: Quote) -> Job:
        now, seconds = self.clock.now(), until - self.clock.monotonic()
        started = self._save(job.start(now=now, seconds=seconds, quote=quote), read)
        if job.attempt == job.redriven_attempt and not job.batch:  # the first since it was queued
            self._measure("QueueWaitMs", job, 1000 * _age(job, now))
        return started

    def _measure(self, name: str, job: Job, value: float) -> None:
        self.metrics.add(name, value, client_id=job.client_id, job_id=job.id)

    def _save(self, job: Job, read: Job) -> Job:
        """Save a job, and count its charges of unknown outcome that are new since it was read."""
        stored = self.jobs.save(job)
        self.executor.count_unknown(job, job.charges[len(read.charges) :])
        return stored

    def _finish(self, execution: Execution, *, receives: int) -> int | None:
        job, error = execution.job, execution.error
        if error is None:
            self.executor.finish(job)
            return None
        is_busy = isinstance(error, UpstreamUnavailableError)
        if not error.retryable or (not is_busy and job.failures + 1 >= MAX_FAILURES):
            self.executor.finish(job.fail(error, now=self.clock.now()))
            if isinstance(error, UnexpectedError):
                raise error  # the job has ended; the bug is to be counted and seen
            return None
        queued = job.requeue(counted=not is_busy)
        wait = min(self._wait(queued, error, receives), self._left(queued))
        until = self.clock.now() + timedelta(seconds=wait)
        return wait if self.executor.finish(queued.back_off(until=until)) else None

    def _given_up(self, job: Job, now: datetime) -> Sd3Error | None:
        if job.failures >= MAX_FAILURES:
            return UpstreamError(f"Given up after {job.failures} attempts.")
        if now > self._queued_until(job):
            return UpstreamUnavailableError("The upstream was not available for too long.")
        return None

    def _wait(self, job: Job, error: Sd3Error, receives: int) -> int:
        """Return the seconds until the next attempt: Retry-After plus backoff with full jitter.

        The Retry-After of our own rate limiter is exact. It gets no backoff, and is only spread
        over the waiting jobs.
        """
        retry_after = error.retry_after if isinstance(error, UpstreamUnavailableError) else None
        seconds = retry_after or 0
        if isinstance(error, UpstreamRateLimitedError) and receives <= EXACT_WAITS:
            return int(seconds + self.clock.jitter() * min(seconds, SPREAD_SECONDS)) + 1
        times = receives if isinstance(error, UpstreamUnavailableError) else job.failures
        backoff = self.clock.jitter() * min(MAX_WAIT_SECONDS, 2.0 ** min(times, 10))
        return int(seconds + backoff) + 1

    def _left(self, job: Job) -> int:
        """Return the seconds until the job is given up or canceled, which limit every wait."""
        until = self._queued_until(job)
        if job.cancel_at and not job.cost_micros:
            until = min(until, job.cancel_at)
        left = until - self.clock.now()
        return max(int(left.total_seconds()), 0) + 1

    def _queued_until(self, job: Job) -> datetime:
        longest = max(self.max_queue, BATCH_WINDOW) if job.batch else self.max_queue
        return job.queued_at + longest


def _age(job: Job, now: datetime) -> float:
    """Return for how many seconds a job has been in the queue."""
    return (now - job.queued_at).total_seconds()
