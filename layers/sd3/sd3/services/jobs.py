"""The use cases of clients: what the service does for whoever asks, by whatever door."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import Final

from sd3.domain.billing import (
    MICROS_PER_DOLLAR,
    NO_USAGE,
    budget_exceeded,
    day_of,
    first_day,
    left_of,
)
from sd3.domain.client import ClientLimits, RequestContext
from sd3.domain.image import MAX_UPLOAD_BYTES, Link
from sd3.domain.job import Job, JobStatus, failed, queued_again, with_unknown_charge
from sd3.domain.request import GenerateRequest, UploadRequest
from sd3.errors import (
    LeaseLostError,
    NotCancelableError,
    NotFoundError,
    Sd3Error,
    StillRunningError,
    StorageError,
    UpstreamTimeoutError,
)
from sd3.responses.models import (
    JobListResponse,
    JobResponse,
    QuoteResponse,
    UploadResponse,
    UsageResponse,
)
from sd3.responses.pagination import cursor_from, position_in
from sd3.responses.render import entity_tag, in_dollars, job_response, usage_response
from sd3.services.execution import JobExecutor
from sd3.services.ports import (
    Clock,
    ImageGenerator,
    ImageStorage,
    JobRepository,
    MessageQueue,
    UploadStorage,
    UsageRepository,
)
from sd3.services.submission import JobSubmission

POLL_SECONDS: Final = 0.5
"""Between two looks at a job that somebody waits for."""

_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class JobService:
    """The use cases over one set of stores and upstreams."""

    jobs: JobRepository
    usages: UsageRepository
    images: ImageStorage
    uploads: UploadStorage
    queue: MessageQueue
    upstreams: ImageGenerator
    time: Clock
    sync_image_steps: int
    retention: timedelta
    url_ttl_seconds: int

    def generate(self, request: GenerateRequest, caller: RequestContext) -> JobResponse:
        """Generate a request while its caller waits, or queue it where that takes too long.

        The answer's job has ended, or waits or runs. Raises InvalidRequestError, GoneError,
        BudgetExceededError, RateLimitedError, IdempotencyMismatchError, UpstreamError,
        StillRunningError and StorageError; a job that failed so is named by the error's `job_id`.
        """
        until = self.time.monotonic() + caller.seconds
        job, is_new = self._admission().admit(request, caller)
        if not is_new or job.status is JobStatus.QUEUED:
            return self.answer(job)
        try:
            return self._generate(job, until=until)
        except LeaseLostError as error:
            lost = StillRunningError("Another attempt has taken the job over.")
            lost.job_id = job.id
            raise lost from error
        except Sd3Error as error:
            error.job_id = job.id
            raise

    def quote(
        self, request: GenerateRequest, *, client_id: str, limits: ClientLimits
    ) -> QuoteResponse:
        """What a request would take, and no more: nothing is made, counted or charged.

        Raises InvalidRequestError, BudgetExceededError and StorageError.
        """
        request, quote = self._admission().appraise(request, client_id=client_id)
        left = None
        if limits.daily_budget_micros is not None:
            now = self.time.now()
            today = day_of(now)
            days = self.usages.days(client_id, since=today, until=today)
            left = left_of(limits, days[0].booking if days else NO_USAGE) or 0
            if quote.micros > left:
                raise budget_exceeded(quote.micros, limits, left=left, now=now)
        has_image = request.init_image is not None
        return QuoteResponse(
            cost_usd=quote.micros / MICROS_PER_DOLLAR,
            upstream=quote.upstream,
            ignored=list(self.upstreams.ignored(request, has_image=has_image)),
            budget_left_usd=in_dollars(left),
        )

    def usage(self, client_id: str, limits: ClientLimits) -> UsageResponse:
        """What a client has used, and may still use today. Raises StorageError."""
        now = self.time.now()
        days = self.usages.days(client_id, since=first_day(now), until=day_of(now))
        return usage_response(client_id, days, limits=limits, now=now)

    def job(
        self,
        job_id: str,
        *,
        client_id: str,
        wait_seconds: float = 0,
        known_tags: frozenset[str] = frozenset(),
    ) -> Job:
        """A job of this client, when it has ended or `wait_seconds` have passed.

        A client that names the entity tags that it knows waits for another one only. Raises
        NotFoundError, GoneError and StorageError.
        """
        until = self.time.monotonic() + wait_seconds
        while True:
            job = self.jobs.get(job_id, client_id=client_id, now=self.time.now())
            left = until - self.time.monotonic()
            is_news = known_tags and not self.is_known(job, known_tags)
            if job.status.is_terminal or is_news or left <= 0:
                return job
            self.time.sleep(min(POLL_SECONDS, left))

    def answer(self, job: Job) -> JobResponse:
        """The job as its client sees it, with links signed now."""
        return job_response(job, self._sign)

    def entity_tag(self, job: Job) -> str:
        """The ETag of `answer`."""
        return entity_tag(job, now=self.time.now(), url_ttl_seconds=self.url_ttl_seconds)

    def is_known(self, job: Job, known_tags: frozenset[str]) -> bool:
        """Whether the job's entity tag is one of these, which have no W/; `*` is any."""
        return bool(known_tags & {"*", self.entity_tag(job).removeprefix("W/")})

    def list_jobs(
        self, client_id: str, *, status: JobStatus | None, limit: int, cursor: str | None
    ) -> JobListResponse:
        """A page of a client's jobs, newest first. Raises InvalidRequestError and StorageError."""
        after = position_in(cursor, client_id=client_id)
        page = self.jobs.page(
            client_id, status=status, limit=limit, after=after, now=self.time.now()
        )
        return JobListResponse(
            jobs=[self.answer(job) for job in page.jobs],
            next_cursor=cursor_from(page.next_position, client_id=client_id),
        )

    def cancel(self, job_id: str, *, client_id: str) -> JobResponse:
        """End a job. One that runs is generated to its end and paid, and its images thrown away.

        Raises NotFoundError, GoneError, NotCancelableError and StorageError.
        """
        for _ in range(_TRIES):
            now = self.time.now()
            job = self.jobs.get(job_id, client_id=client_id, now=now)
            if job.status.is_terminal:
                raise NotCancelableError(f"The job has ended: it is {job.status}.")
            canceled = with_unknown_charge(job) if job.status is JobStatus.RUNNING else job
            end = {"status": JobStatus.CANCELED, "completed_at": now, "lease_until": None}
            canceled = canceled.model_copy(update=end)
            try:
                self.jobs.stop(canceled, was=job.status)
            except LeaseLostError:
                continue  # it changed between the two: look again
            return self.answer(canceled)
        raise StorageError("The job could not be canceled: it changes too fast.")

    def delete(self, job_id: str, *, client_id: str) -> None:
        """Remove a job with its images and its init image, canceling it first if it is open.

        Raises NotFoundError, GoneError and StorageError.
        """
        for _ in range(_TRIES):
            job = self.jobs.get(job_id, client_id=client_id, now=self.time.now())
            if not job.status.is_terminal:
                with suppress(NotCancelableError):  # it can end meanwhile
                    self.cancel(job_id, client_id=client_id)
            self.images.delete_all(job.folder, count=job.request.num_images)
            with suppress(LeaseLostError):  # it was put back into the queue meanwhile
                self.jobs.delete(job, now=self.time.now())
                return
        raise StorageError("The job could not be deleted: it changes too fast.")

    def image(self, job_id: str, index: str, *, client_id: str) -> Link:
        """A link, signed now, to an image of a job.

        Raises NotFoundError, GoneError and StorageError.
        """
        job = self.jobs.get(job_id, client_id=client_id, now=self.time.now())
        for record in job.images:
            if record.key and str(record.index) == index:
                return self.images.sign(record.key, now=self.time.now())
        raise NotFoundError("The job has no such image.")

    def upload(self, request: UploadRequest, *, client_id: str) -> UploadResponse:
        """A form by which a client sends an image to S3, to start from. Nothing is kept of it."""
        upload_id = token_hex(16)
        form = self.uploads.form(
            client_id, upload_id, content_type=request.content_type, now=self.time.now()
        )
        return UploadResponse(id=upload_id, **form._asdict(), max_bytes=MAX_UPLOAD_BYTES)

    def _sign(self, key: str) -> Link:
        return self.images.sign(key, now=self.time.now())

    def _admission(self) -> JobSubmission:
        return JobSubmission(
            jobs=self.jobs,
            images=self.images,
            uploads=self.uploads,
            queue=self.queue,
            upstreams=self.upstreams,
            time=self.time,
            sync_image_steps=self.sync_image_steps,
            retention=self.retention,
        )

    def _generate(self, job: Job, *, until: float) -> JobResponse:
        attempts = JobExecutor(
            jobs=self.jobs, images=self.images, upstreams=self.upstreams, time=self.time
        )
        result = attempts.make(job, job.request.init_image, until=until)
        now = self.time.now()
        if isinstance(result.error, UpstreamTimeoutError):
            # Generated or not, nobody knows: the same seeds are generated again, by the worker.
            if attempts.write(queued_again(result.job, counted=True)):
                self.queue.send(job.id)
                raise StillRunningError("The upstream is slow; the job goes on.")
        elif result.error:
            attempts.write(failed(result.job, result.error, now=now))
            raise result.error
        elif attempts.write(result.job):
            generated = result.outcome.images if result.outcome else ()
            return job_response(result.job, self._sign, generated=generated)
        return self.answer(self.jobs.get(job.id, client_id=job.client_id, now=now))
