"""The use cases of clients: what the service does for whoever asks, by whatever door."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from secrets import randbelow
from typing import Final, NamedTuple

from sd3.answers import cursor_from, entity_tag, job_answer, position_in
from sd3.attempts import (
    LEASE_MARGIN_SECONDS,
    Attempts,
    failed,
    queued_again,
    running,
    with_unknown_charge,
)
from sd3.contract import MAX_SEED, GenerateRequest
from sd3.errors import (
    IdempotencyMismatchError,
    LeaseLostError,
    NotCancelableError,
    NotFoundError,
    Sd3Error,
    StillRunningError,
    StorageError,
    UpstreamTimeoutError,
)
from sd3.models import InboxOrigin, Job, JobAnswer, JobsAnswer, JobStatus, Link
from sd3.ports import Images, Jobs, Queue, Time
from sd3.upstreams import Upstream

POLL_SECONDS: Final = 0.5
"""Between two looks at a job that somebody waits for."""

_RETRYABLE: Final = frozenset(("upstream_error", "upstream_unavailable", "internal_error"))
_TRIES: Final = 5


class Caller(NamedTuple):
    """Who asks for a picture, and how."""

    client_id: str
    job_id: str
    """The id that a job made for this call gets."""
    seconds: float
    """How long the caller's function lives on."""
    idempotency_key: str | None = None
    respond_async: bool = False
    inbox: InboxOrigin | None = None


@dataclass(frozen=True, kw_only=True)
class Service:
    """The use cases over one set of stores and one upstream, made when it is first asked."""

    jobs: Jobs
    images: Images
    queue: Queue
    upstream: Callable[[], Upstream]
    time: Time
    sync_image_steps: int
    retention: timedelta
    url_ttl_seconds: int

    def generate(self, request: GenerateRequest, caller: Caller) -> JobAnswer:
        """Draw a request while its caller waits, or queue it where that takes too long.

        The answer's job has ended, or waits or runs. Raises IdempotencyMismatchError,
        UpstreamError, StillRunningError and StorageError; a job that failed so is named by the
        error's `job_id`.
        """
        job = self._new_job(request, caller)
        # The message comes first: from the moment that the job is written, somebody will end it.
        waits = job.status is JobStatus.QUEUED
        delay = 0 if waits else int(caller.seconds + LEASE_MARGIN_SECONDS) + 1
        self.queue.send(job.id, delay_seconds=delay)
        held = self._write_new(job, caller.idempotency_key)
        if held:
            return job_answer(held, self.images, now=self.time.now())
        if waits:
            return job_answer(job, self.images, now=self.time.now())
        try:
            return self._draw(job, seconds=caller.seconds)
        except Sd3Error as error:
            error.job_id = job.id
            raise

    def job(self, job_id: str, *, client_id: str, wait_seconds: float = 0) -> Job:
        """A job of this client, when it has ended or `wait_seconds` have passed.

        Raises NotFoundError, GoneError and StorageError.
        """
        until = self.time.monotonic() + wait_seconds
        while True:
            job = self.jobs.get(job_id, client_id=client_id, now=self.time.now())
            left = until - self.time.monotonic()
            if job.status.is_terminal or left <= 0:
                return job
            self.time.sleep(min(POLL_SECONDS, left))

    def answer(self, job: Job) -> JobAnswer:
        """The job as its client sees it, with links signed now."""
        return job_answer(job, self.images, now=self.time.now())

    def entity_tag(self, job: Job) -> str:
        """The ETag of `answer`."""
        return entity_tag(job, now=self.time.now(), url_ttl_seconds=self.url_ttl_seconds)

    def list_jobs(
        self, client_id: str, *, status: JobStatus | None, limit: int, cursor: str | None
    ) -> JobsAnswer:
        """A page of a client's jobs, newest first. Raises InvalidRequestError and StorageError."""
        after = position_in(cursor, client_id=client_id)
        page = self.jobs.page(
            client_id, status=status, limit=limit, after=after, now=self.time.now()
        )
        return JobsAnswer(
            jobs=[self.answer(job) for job in page.jobs],
            next_cursor=cursor_from(page.next_position, client_id=client_id),
        )

    def cancel(self, job_id: str, *, client_id: str) -> JobAnswer:
        """End a job. One that runs is drawn to its end and paid, and its pictures thrown away.

        Raises NotFoundError, GoneError, NotCancelableError and StorageError.
        """
        for _ in range(_TRIES):
            now = self.time.now()
            job = self.jobs.get(job_id, client_id=client_id, now=now)
            if job.status.is_terminal:
                raise NotCancelableError(f"The job has ended: it is {job.status}.")
            if job.status is JobStatus.RUNNING:
                job = with_unknown_charge(job, self.upstream())
            canceled = {"status": JobStatus.CANCELED, "completed_at": now, "lease_until": None}
            job = job.model_copy(update=canceled)
            try:
                self.jobs.stop(job)
            except LeaseLostError:
                continue  # it changed between the two: look again
            return self.answer(job)
        raise StorageError("The job could not be canceled: it changes too fast.")

    def delete(self, job_id: str, *, client_id: str) -> None:
        """Remove a job with its pictures and its init image, canceling it first if it is open.

        Raises NotFoundError, GoneError and StorageError.
        """
        job = self.jobs.get(job_id, client_id=client_id, now=self.time.now())
        if not job.status.is_terminal:
            with suppress(NotCancelableError):  # it can end meanwhile
                self.cancel(job_id, client_id=client_id)
        self.images.delete_all(job.folder, count=job.request.num_images)
        self.jobs.delete(job, now=self.time.now())

    def image(self, job_id: str, index: str, *, client_id: str) -> Link:
        """A link, signed now, to a picture of a job.

        Raises NotFoundError, GoneError and StorageError.
        """
        job = self.jobs.get(job_id, client_id=client_id, now=self.time.now())
        for record in job.images:
            if record.key and str(record.index) == index:
                return self.images.sign(record.key, now=self.time.now())
        raise NotFoundError("The job has no such picture.")

    def _new_job(self, request: GenerateRequest, caller: Caller) -> Job:
        now = self.time.now()
        init = request.init_image
        folder = f"{caller.client_id}/{caller.job_id}"
        job = Job(
            id=caller.job_id,
            client_id=caller.client_id,
            status=JobStatus.QUEUED,
            created_at=now,
            expires_at=now + self.retention,
            request=request,
            seeds=fix_seeds(request),
            init_image_key=init and self.images.put_init_image(folder, init),
            inbox=caller.inbox,
        )
        too_long = request.num_images * request.steps > self.sync_image_steps
        if caller.respond_async or too_long:
            return job
        return running(job, now=now, seconds=caller.seconds)

    def _write_new(self, job: Job, key: str | None) -> Job | None:
        """Write a new job, once for each key; the job that is there already, if one is."""
        if key is None:
            if self.jobs.create(job):
                return None
            return self.jobs.get(job.id, client_id=job.client_id, now=self.time.now())
        fingerprint = fingerprint_of(job.request)
        instead_of = None
        for _ in range(_TRIES):
            holder = self.jobs.create_once(job, key, fingerprint=fingerprint, instead_of=instead_of)
            if holder is None:
                return None
            if holder.fingerprint != fingerprint:
                raise IdempotencyMismatchError(
                    "This Idempotency-Key was used with another request."
                )
            held = self.jobs.get(holder.job_id, client_id=job.client_id, now=self.time.now())
            if not (held.error and held.error.code in _RETRYABLE):
                return held
            instead_of = held.id  # it failed in a way that may pass: the key may try again
        raise StorageError("The Idempotency-Key could not be taken.")

    def _draw(self, job: Job, *, seconds: float) -> JobAnswer:
        attempts = Attempts(
            jobs=self.jobs, images=self.images, upstream=self.upstream(), time=self.time
        )
        result = attempts.make(job, job.request.init_image, seconds=seconds)
        now = self.time.now()
        if isinstance(result.error, UpstreamTimeoutError):
            # Drawn or not, nobody knows: the same seeds are drawn again, by the worker.
            attempts.write(queued_again(result.job, counted=True))
            self.queue.send(job.id)
            raise StillRunningError("The upstream is slow; the job goes on.")
        if result.error:
            attempts.write(failed(result.job, result.error, now=now))
            raise result.error
        if attempts.write(result.job):
            drawn = result.drawing.pictures if result.drawing else ()
            return job_answer(result.job, self.images, now=now, drawn=drawn)
        return self.answer(self.jobs.get(job.id, client_id=job.client_id, now=now))


def fix_seeds(request: GenerateRequest) -> tuple[int, ...]:
    """One seed for each picture: counted on from one, wrapping inside 1..2^32-1; null is drawn."""
    seed = request.seed
    if isinstance(seed, int):
        return tuple((seed - 1 + index) % MAX_SEED + 1 for index in range(request.num_images))
    each = seed or [None] * request.num_images
    return tuple(one if one is not None else randbelow(MAX_SEED) + 1 for one in each)


def fingerprint_of(request: GenerateRequest) -> str:
    """A hash of all that a client asked for, its init image included."""
    digest = hashlib.sha256(request.model_dump_json().encode())
    if request.init_image:
        digest.update(hashlib.sha256(request.init_image.data).digest())
    return digest.hexdigest()
