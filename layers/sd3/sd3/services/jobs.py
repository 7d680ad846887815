"""The use cases of clients: generate images, and read, list, cancel and delete jobs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sd3.domain.billing import MICROS_PER_DOLLAR, day_of, first_day
from sd3.domain.client import ClientLimits, RequestContext
from sd3.domain.generation import GeneratedImage
from sd3.domain.image import Link
from sd3.domain.job import Job, JobStatus
from sd3.domain.progress import NOTHING_KNOWN, JobProgress
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    LeaseLostError,
    NotCancelableError,
    Sd3Error,
    StillRunningError,
    StorageBusyError,
    StorageError,
    UnexpectedError,
    UpstreamTimeoutError,
)
from sd3.responses.models import (
    JobListResponse,
    JobResponse,
    QuoteResponse,
    UsageResponse,
)
from sd3.responses.pagination import position_in
from sd3.responses.render import (
    fitting,
    in_dollars,
    job_list_response,
    job_response,
    usage_response,
)
from sd3.services.budget_check import check_budget
from sd3.services.cancellation import JobCancellation
from sd3.services.execution import Execution, JobExecutor
from sd3.services.ports import (
    Clock,
    ImageGenerator,
    ImageStorage,
    JobRepository,
    MessageQueue,
    UsageRepository,
)
from sd3.services.submission import JobSubmission
from sd3.services.waits import JobView, JobWaits

if TYPE_CHECKING:  # what is answered at once does without it
    from sd3.services.progress import ProgressReader

_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class JobService:
    """The operations of clients on jobs and usage."""

    submission: JobSubmission
    executor: JobExecutor
    waits: JobWaits
    cancellation: JobCancellation
    progress: "Callable[[], ProgressReader]"
    jobs: JobRepository
    usage: UsageRepository
    images: ImageStorage
    queue: MessageQueue
    generator: ImageGenerator
    clock: Clock

    def generate(self, request: GenerateRequest, context: RequestContext) -> JobResponse:
        """Generate a request while its caller waits, or queue it when that takes too long.

        The response has a job that has ended, runs or is queued. With `hold_until` it has one that
        has ended with images, and what a job ended with instead is raised.

        Raises InvalidRequestError, GoneError, BudgetExceededError, RateLimitedError,
        NotCachedError, IdempotencyMismatchError, UpstreamError, StillRunningError and StorageError.
        After a failed attempt, the error's `job_id` names the job.
        """
        since = self.clock.monotonic()
        job, is_new = self.submission.submit(request, context)
        with _naming(job.id):
            if is_new and job.status is JobStatus.RUNNING:
                try:
                    response = self._execute(job, since=since, until=since + context.seconds)
                except (LeaseLostError, StillRunningError):
                    if context.hold_until is None:
                        raise
                else:
                    if context.hold_until is None or response.status is not JobStatus.CANCELED:
                        return response
            if not is_new:
                with suppress(LeaseLostError):  # it has begun meanwhile
                    job = self.cancellation.cancel_overdue(job, now=self.clock.now())
            if context.hold_until:
                # A call that made the job or took it over cannot do without: the job is paid for,
                # and repeated, it would be a second one. A key can be sent any number of times.
                is_bounded = not is_new and context.idempotency_key is not None
                job = self._held(job, until=context.hold_until, is_bounded=is_bounded)
            return self.to_response(job)

    def quote(
        self, request: GenerateRequest, *, client_id: str, limits: ClientLimits
    ) -> QuoteResponse:
        """Price a request and check it against the budget. It creates, counts and charges nothing.

        Raises InvalidRequestError, BudgetExceededError and StorageError.
        """
        request, quote = self.submission.prepare(request, client_id=client_id)
        left = check_budget(
            self.usage, quote, client_id=client_id, limits=limits, now=self.clock.now()
        )
        ignored = self.generator.ignored(request, has_image=request.has_init_image)
        return QuoteResponse(
            cost_usd=quote.micros / MICROS_PER_DOLLAR,
            upstream=quote.upstream,
            ignored=list(ignored),
            budget_left_usd=in_dollars(left),
        )

    def get_usage(self, client_id: str, limits: ClientLimits) -> UsageResponse:
        """Read what a client has used and what is left for today. Raises StorageError."""
        now = self.clock.now()
        days = self.usage.days(client_id, since=first_day(now), until=day_of(now))
        return usage_response(client_id, days, limits=limits, now=now)

    def get_job(
        self,
        job_id: str,
        *,
        client_id: str,
        wait_seconds: float = 0,
        known_tags: frozenset[str] = frozenset(),
    ) -> JobView:
        """Read a client's job once it has ended, or after `wait_seconds` at the latest.

        `known_tags` are the entity tags that the client has, without W/; `*` means any. With them,
        the wait also ends when the job's tag is none of them. A client that has begun too many
        waits does not wait. Raises NotFoundError, GoneError and StorageError.
        """
        return self.waits.view(
            job_id, client_id=client_id, wait_seconds=wait_seconds, known_tags=known_tags
        )

    def progress_of(self, job: Job) -> JobProgress:
        """Tell how far an open job has come; raises nothing."""
        return NOTHING_KNOWN if job.status.is_terminal else self.progress().of(job)

    def to_response(self, job: Job, progress: JobProgress | None = None) -> JobResponse:
        """Render a job as the response to its client, with links signed now.

        `progress` is the job's, if it was read already.

        If the request asked for base64, the stored images are read, as many as fit a response. An
        image that cannot be read has its link only.
        """
        inline: Mapping[int, bytes] = {}
        if job.request.response_format == "b64_json":
            stored = {one.index: one for one in job.images if one.key and one.bytes}
            sizes = {index: one.bytes or 0 for index, one in stored.items()}
            inline = self.images.read_all([stored[index] for index in fitting(sizes)])
        progress = progress or self.progress_of(job)
        return job_response(job, self._sign, inline=inline, progress=progress)

    def list_jobs(
        self, client_id: str, *, status: JobStatus | None, limit: int, cursor: str | None
    ) -> JobListResponse:
        """Read a page of a client's jobs, newest first; their images are links only.

        Raises InvalidRequestError and StorageError.
        """
        after = position_in(cursor, client_id=client_id)
        page = self.jobs.page(
            client_id, status=status, limit=limit, after=after, now=self.clock.now()
        )
        return job_list_response(page, self._sign, client_id=client_id)

    def cancel(self, job_id: str, *, client_id: str) -> JobResponse:
        """Cancel a job. The init image of a queued one is removed.

        A running job's call to the upstream goes on and is paid, and its images are removed. Raises
        NotFoundError, GoneError, NotCancelableError and StorageError.
        """
        for _ in range(_TRIES):
            now = self.clock.now()
            job = self.jobs.get(job_id, client_id=client_id, now=now)
            if job.status.is_terminal:
                raise NotCancelableError(f"The job has ended: it is {job.status}.")
            with suppress(LeaseLostError):  # it changed after it was read: read it again
                return self.to_response(self.cancellation.cancel(job, now=now))
        raise StorageBusyError("The job could not be canceled: it changes too fast.")

    def delete(self, job_id: str, *, client_id: str) -> None:
        """Remove a job with its images and its init image. An open job is canceled first.

        Raises NotFoundError, GoneError and StorageError.
        """
        for _ in range(_TRIES):
            job = self.jobs.get(job_id, client_id=client_id, now=self.clock.now())
            if not job.status.is_terminal:
                with suppress(NotCancelableError):  # it has ended meanwhile
                    self.cancel(job_id, client_id=client_id)
            self.images.delete_all(job.folder, count=job.request.num_images)
            self.images.delete_renditions(job.folder)
            with suppress(LeaseLostError):  # it was put back into the queue meanwhile
                self.jobs.delete(job, now=self.clock.now())
                return
        raise StorageBusyError("The job could not be deleted: it changes too fast.")

    def _execute(self, job: Job, *, since: float, until: float) -> JobResponse:
        execution = self.executor.execute(job, job.request.init_image, until=until)
        try:
            return self._finish(job, execution)
        except StorageBusyError as error:
            if execution.job.cost_micros:  # its 503 would say that nothing was charged
                raise StorageError(error.message) from error
            raise
        except Sd3Error:
            raise
        except Exception as bug:
            raise self.executor.abandon(job, execution, bug) from bug
        finally:
            self.executor.measure(execution, since=since)

    def _finish(self, job: Job, execution: Execution) -> JobResponse:
        error = execution.error
        if isinstance(error, UpstreamTimeoutError):
            # The outcome is unknown, so the worker calls the upstream again with the same seeds.
            if self.executor.finish(execution.job.requeue(counted=True)):
                self.queue.send(job)
                raise StillRunningError("The upstream is slow; the job goes on.")
        elif error:
            self.executor.finish(execution.job.fail(error, now=self.clock.now()))
            raise error
        elif stored := self.executor.finish(execution.job):
            return self._generated_response(stored, execution.images)
        return self.to_response(
            self.jobs.get(job.id, client_id=job.client_id, now=self.clock.now())
        )

    def _generated_response(self, job: Job, generated: Sequence[GeneratedImage]) -> JobResponse:
        """Render a job whose images are still in memory; one that S3 did not take is there too."""
        if job.request.response_format != "b64_json":
            return job_response(job, self._sign)
        data = {index: one.image.data for index, one in enumerate(generated) if one.image}
        chosen = fitting({index: len(one) for index, one in data.items()})
        return job_response(job, self._sign, inline={index: data[index] for index in chosen})

    def _held(self, job: Job, *, until: datetime, is_bounded: bool) -> Job:
        """Hold the caller; see JobWaits. If the job goes on, say when it is worth asking again."""
        try:
            return self.waits.hold(job, until=until, is_bounded=is_bounded)
        except StillRunningError as error:
            error.eta_seconds = self.progress_of(job).eta_seconds
            raise

    def _sign(self, key: str, until: datetime) -> Link:
        return self.images.sign(key, until=until, now=self.clock.now())


@contextmanager
def _naming(job_id: str) -> Iterator[None]:
    """Have every error and bug of the block name the job, so that its client can ask for it."""
    try:
        yield
    except LeaseLostError as error:
        lost = StillRunningError("Another attempt has taken the job over.")
        lost.job_id = job_id
        raise lost from error
    except Sd3Error as error:
        error.job_id = job_id
        raise
    except Exception as bug:
        unexpected = UnexpectedError(bug)
        unexpected.job_id = job_id
        raise unexpected from bug
