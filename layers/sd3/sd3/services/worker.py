"""The use case of the worker: whatever a message is about, the job behind it ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sd3.domain.job import (
    Job,
    JobStatus,
    failed,
    next_version,
    queued_again,
    running,
    with_unknown_charge,
)
from sd3.errors import (
    GoneError,
    LeaseLostError,
    NotFoundError,
    Sd3Error,
    StorageError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamUnavailableError,
)
from sd3.services.execution import JobExecutor
from sd3.services.ports import Clock, ImageGenerator, ImageStorage, JobRepository

MAX_FAILURES: Final = 5
"""Attempts that failed, each of them perhaps paid, before a job is given up."""

MAX_WAIT_SECONDS: Final = 900
"""Between two attempts; a minute's outage should not cost an hour."""

EXACT_WAITS: Final = 60
"""So often a job comes back just when our own pacing says, before it backs off as well: the queue
gives up after 180 receives."""

SPREAD_SECONDS: Final = 20
"""At most, over which those come back that our own pacing holds back: as long as turns are taken
ahead of their time."""

_WRITTEN_SECONDS: Final = 150
"""A message is sent before its job is written: by then the job is there, or never will be, since
no function that writes new jobs lives longer."""

_LOOK_AGAIN_SECONDS: Final = 2

_AT_ONCE: Final = timedelta(seconds=1)

_LOOKS_AT_ONCE: Final = 20

_BETWEEN_LOOKS_SECONDS: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Ends jobs from the queue, and those whose own function died."""

    jobs: JobRepository
    images: ImageStorage
    upstreams: ImageGenerator
    time: Clock
    max_queue: timedelta

    def work(self, job_id: str, *, seconds: float, sent_at: datetime, receives: int) -> int | None:
        """Look at a job for at most `seconds`; the `receives`-th time that its message came.

        Returns None when nothing is left to do, else after how many seconds to look again.
        Raises StorageError.
        """
        until = self.time.monotonic() + seconds
        try:
            job = self._find(job_id, sent_at)
        except GoneError:
            return None
        except NotFoundError:
            age = (self.time.now() - sent_at).total_seconds()
            # At twice the age each time: that is few looks, be the job there soon or never.
            return max(_LOOK_AGAIN_SECONDS, int(age)) if age < _WRITTEN_SECONDS else None
        now = self.time.now()
        if job.status.is_terminal:
            return None
        if job.lease_until and job.status is JobStatus.RUNNING:
            if now <= job.lease_until:
                return int((job.lease_until - now).total_seconds()) + 1
            # Its function died, with or without the upstream's answer.
            job = queued_again(with_unknown_charge(job), counted=True)
        try:
            return self._attempt(job, now=now, until=until, receives=receives)
        except LeaseLostError:
            return _LOOK_AGAIN_SECONDS

    def _find(self, job_id: str, sent_at: datetime) -> Job:
        """Read a job, which a message that came at once can be some milliseconds ahead of."""
        for _ in range(_LOOKS_AT_ONCE):
            now = self.time.now()
            try:
                return self.jobs.get(job_id, now=now)
            except NotFoundError:
                if now - sent_at > _AT_ONCE:
                    raise
            self.time.sleep(_BETWEEN_LOOKS_SECONDS)
        raise NotFoundError("There is no such job.")

    def end(self, job_id: str, error: Sd3Error) -> None:
        """End a job that the queue has given up, unless it has ended. Raises StorageError."""
        now = self.time.now()
        try:
            job = self.jobs.get(job_id, now=now)
            if job.status is JobStatus.RUNNING:
                job = with_unknown_charge(job)
            if not job.status.is_terminal:
                self.jobs.stop(failed(job, error, now=now), was=job.status)
        except (NotFoundError, GoneError):
            return
        except LeaseLostError as lost:
            raise StorageError("The job changed while it was ended.") from lost

    def _attempt(self, job: Job, *, now: datetime, until: float, receives: int) -> int | None:
        if reason := self._given_up(job, now):
            self.jobs.stop(failed(job, reason, now=now))
            return None
        # Made before the claim: after it nothing stands between the lease and the paid call.
        init_image = job.init_image_key and self.images.get_init_image(job.init_image_key)
        attempts = JobExecutor(
            jobs=self.jobs, images=self.images, upstreams=self.upstreams, time=self.time
        )
        quote = self.upstreams.quote(job.request, has_image=init_image is not None)
        now = self.time.now()
        job = running(job, now=now, seconds=until - self.time.monotonic(), quote=quote)
        self.jobs.claim(job, now=now)
        result = attempts.make(next_version(job), init_image or None, until=until)
        if result.error is None:
            attempts.write(result.job)
            return None
        return self._failed(attempts, result.job, result.error, receives=receives)

    def _failed(
        self, attempts: JobExecutor, job: Job, error: Sd3Error, *, receives: int
    ) -> int | None:
        throttled = isinstance(error, UpstreamUnavailableError)
        if not error.retryable or (not throttled and job.failures + 1 >= MAX_FAILURES):
            attempts.write(failed(job, error, now=self.time.now()))
            return None
        if not attempts.write(queued_again(job, counted=not throttled)):
            return None
        return min(self._wait(job, error, receives), self._left(job))

    def _given_up(self, job: Job, now: datetime) -> Sd3Error | None:
        if job.failures >= MAX_FAILURES:
            return UpstreamError(f"Given up after {job.failures} attempts.")
        if now > self._queued_until(job):
            return UpstreamUnavailableError("The upstream was not available for too long.")
        return None

    def _wait(self, job: Job, error: Sd3Error, receives: int) -> int:
        """What was asked for, and on top exponential backoff with full jitter.

        What our own pacing asks for is exact: all that is added to it spreads those who wait.
        """
        asked = error.retry_after if isinstance(error, UpstreamUnavailableError) else None
        if isinstance(error, UpstreamRateLimitedError) and receives <= EXACT_WAITS:
            return int((asked or 0) + self.time.jitter() * min(asked or 0, SPREAD_SECONDS)) + 1
        times = receives if isinstance(error, UpstreamUnavailableError) else job.failures + 1
        backoff = self.time.jitter() * min(MAX_WAIT_SECONDS, 2.0 ** min(times, 10))
        return int((asked or 0) + backoff) + 1

    def _left(self, job: Job) -> int:
        """Seconds until a job is given up: however long the upstream asks for, it ends then."""
        left = self._queued_until(job) - self.time.now()
        return max(int(left.total_seconds()), 0) + 1

    def _queued_until(self, job: Job) -> datetime:
        return (job.redriven_at or job.created_at) + self.max_queue
