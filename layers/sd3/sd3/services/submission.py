"""From a request to a job that is kept: its seeds, init image, message and Idempotency-Key."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from sd3.domain.billing import Quote
from sd3.domain.client import RequestContext
from sd3.domain.image import MAX_UPLOAD_BYTES, check_init_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.job import (
    LEASE_MARGIN_SECONDS,
    IdempotencyRecord,
    Job,
    JobStatus,
    first_version,
    running,
)
from sd3.domain.request import GenerateRequest, fingerprint_of, resolve_seeds
from sd3.errors import (
    FieldError,
    IdempotencyMismatchError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    StorageError,
    TooLargeError,
)
from sd3.services.ports import (
    Clock,
    ImageGenerator,
    ImageStorage,
    JobRepository,
    MessageQueue,
    UploadStorage,
)

_RETRYABLE: Final = frozenset(("upstream_error", "upstream_unavailable", "internal_error"))

_TRIES: Final = 5


class Submission(NamedTuple):
    """The job of a request, and whether this call made it."""

    job: Job
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class JobSubmission:
    """Makes jobs of requests; nothing is paid yet."""

    jobs: JobRepository
    images: ImageStorage
    uploads: UploadStorage
    queue: MessageQueue
    upstreams: ImageGenerator
    time: Clock
    sync_image_steps: int
    retention: timedelta

    def admit(self, request: GenerateRequest, caller: RequestContext) -> Submission:
        """Keep a job, queued or taken by the caller, unless one of the same key or id is there.

        Raises InvalidRequestError for an upload that cannot be used and for what no upstream can
        generate, BudgetExceededError, RateLimitedError, IdempotencyMismatchError, GoneError and
        StorageError.
        """
        client_id, key, limits = caller.client_id, caller.idempotency_key, caller.limits
        try:
            request, quote = self.appraise(request, client_id=client_id)
            self.jobs.refuse(client_id, quote.micros, limits=limits, now=self.time.now())
        except RequestError:
            # An earlier call can have made the job of it while its upload, or room, was there.
            made = self._made_before(request, caller)
            if made is None:
                raise
            return Submission(made, is_new=False)
        job = self._new_job(request, caller, quote)
        # The message comes first: from the moment that the job is written, somebody will end it.
        waits = job.status is JobStatus.QUEUED
        delay = 0 if waits else int(caller.seconds + LEASE_MARGIN_SECONDS) + 1
        self.queue.send(job.id, delay_seconds=delay)
        try:
            admitted = self._keep_once(job, key, caller) if key else self._keep(job, caller)
        except RequestError:
            self._drop(job)
            raise
        if admitted.job.id != job.id:
            self._drop(job)
        elif not admitted.is_new:
            _check_same_request(admitted.job, request)
        return admitted

    def appraise(
        self, request: GenerateRequest, *, client_id: str
    ) -> tuple[GenerateRequest, Quote]:
        """The request with its init image, and what it takes; nothing is changed.

        Raises InvalidRequestError for an upload that cannot be used and for what no upstream can
        generate, and StorageError.
        """
        request = self._with_upload(request, client_id)
        self.upstreams.check(request)
        return request, self.upstreams.quote(request, has_image=request.init_image is not None)

    def _with_upload(self, request: GenerateRequest, client_id: str) -> GenerateRequest:
        """The request with its upload, if it names one, as its init image."""
        upload_id = request.init_image_id
        if upload_id is None:
            return request
        try:
            data = self.uploads.read(client_id, upload_id, now=self.time.now())
            image = check_init_image(data, max_bytes=MAX_UPLOAD_BYTES)
        except NotFoundError as error:
            # The same words for another client's: nobody learns which ids there are.
            raise _upload_error("not found or expired", error.code) from error
        except (TooLargeError, InvalidImageError) as error:
            raise _upload_error(str(error), "picture") from error
        return request.model_copy(update={"init_image": image})

    def _made_before(self, request: GenerateRequest, caller: RequestContext) -> Job | None:
        """The job that an earlier call with the same key, or else the same id, has made."""
        now = self.time.now()
        job_id, key = caller.job_id, caller.idempotency_key
        if key:
            holder = self.jobs.holder(caller.client_id, key, now=now)
            if holder is None:
                return None
            _check_same(holder, fingerprint_of(request))
            job_id = holder.job_id
        try:
            job = self.jobs.get(job_id, client_id=caller.client_id, now=now)
        except NotFoundError:
            return None
        if not key:
            _check_same_request(job, request)
        return None if key and _frees_its_key(job) else job

    def _new_job(self, request: GenerateRequest, caller: RequestContext, quote: Quote) -> Job:
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
            seeds=resolve_seeds(request),
            init_image_key=init and self.images.save_init_image(folder, init),
            inbox=caller.inbox,
            quote=quote,
        )
        too_long = request.num_images * request.steps > self.sync_image_steps
        if caller.respond_async or too_long:
            return job
        return running(job, now=now, seconds=caller.seconds, quote=quote)

    def _keep(self, job: Job, caller: RequestContext) -> Submission:
        if self.jobs.create(job, limits=caller.limits):
            return Submission(first_version(job), is_new=True)
        return self._held(job.id, job)

    def _held(self, job_id: str, job: Job) -> Submission:
        """The job that is there; a write whose answer was lost is repeated, and finds itself."""
        held = self.jobs.get(job_id, client_id=job.client_id, now=self.time.now())
        if (held.id, held.created_at) == (job.id, job.created_at):
            return Submission(first_version(job), is_new=True)
        return Submission(held, is_new=False)

    def _keep_once(self, job: Job, key: str, caller: RequestContext) -> Submission:
        fingerprint = fingerprint_of(job.request)
        instead_of = None
        for _ in range(_TRIES):
            holder = self.jobs.create_once(
                job, key, fingerprint=fingerprint, instead_of=instead_of, limits=caller.limits
            )
            if holder is None:
                return Submission(first_version(job), is_new=True)
            _check_same(holder, fingerprint)
            admitted = self._held(holder.job_id, job)
            if not _frees_its_key(admitted.job):
                return admitted
            instead_of = holder.job_id
        raise StorageError("The Idempotency-Key could not be taken.")

    def _drop(self, job: Job) -> None:
        """Remove the init image of a job that was not kept; else it stays for the retention."""
        if job.init_image_key:
            with suppress(StorageError):
                self.images.delete_all(job.folder, count=0)


def _check_same(holder: IdempotencyRecord, fingerprint: str) -> None:
    if holder.fingerprint != fingerprint:
        raise IdempotencyMismatchError("This Idempotency-Key was used with another request.")


def _check_same_request(job: Job, request: GenerateRequest) -> None:
    """Clients can choose the gateway's id of a request, and so a job's that is there."""
    if job.request.model_dump_json() != request.model_dump_json():
        raise IdempotencyMismatchError("The job of this request's id is of another request.")


def _frees_its_key(job: Job) -> bool:
    """Whether a job failed in a way that may pass: its key may try again."""
    return job.error is not None and job.error.code in _RETRYABLE


def _upload_error(msg: str, kind: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(("body", "init_image_id"), msg, kind)])
