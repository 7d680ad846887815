"""The submission of a request: it becomes a stored job with a message in the queue."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from sd3.domain.billing import Quote
from sd3.domain.client import ClientLimits, RequestContext
from sd3.domain.job import (
    IdempotencyRecord,
    Job,
    JobStatus,
    Reproduction,
)
from sd3.domain.request import GenerateRequest, fingerprint_of, resolve_seeds
from sd3.errors import (
    BudgetExceededError,
    IdempotencyMismatchError,
    NotCachedError,
    NotFoundError,
    RateLimitedError,
    RequestError,
    Sd3Error,
    StorageBusyError,
    StorageError,
    UnexpectedError,
)
from sd3.services.adoption import JobAdoption, Place
from sd3.services.execution import LONGEST_SECONDS
from sd3.services.init_images import InitImages
from sd3.services.ports import (
    Clock,
    ImageGenerator,
    ImageStorage,
    JobRepository,
    MessageQueue,
    Metrics,
)

if TYPE_CHECKING:
    from sd3.services.reuse import ResultReuse

_RETRYABLE: Final = frozenset(("upstream_error", "upstream_unavailable", "internal_error"))

_TRIES: Final = 5

_ID_TAKEN: Final = "The id of this request is another job's."


class Submission(NamedTuple):
    """The job of a request, and whether this call created it."""

    job: Job
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class JobSubmission:
    """Creates jobs from requests. It calls no upstream, so it costs nothing."""

    jobs: JobRepository
    images: ImageStorage
    init_images: InitImages
    queue: MessageQueue
    generator: ImageGenerator
    clock: Clock
    metrics: Metrics
    sync_image_steps: int
    retention: timedelta
    reuse: "ResultReuse | None" = None
    """None where every request is generated."""

    def submit(self, request: GenerateRequest, context: RequestContext) -> Submission:
        """Create a job, queued or started, unless the request's key or id already has one.

        The gateway chooses the id. So it has a job only if the same event comes twice. Raises
        InvalidRequestError for an upload that cannot be used and for what no upstream can generate,
        BudgetExceededError, RateLimitedError, NotCachedError, IdempotencyMismatchError, GoneError
        and StorageError.
        """
        try:
            return self._submit(request, context)
        except BudgetExceededError:
            self.metrics.add(
                "BudgetRejected", 1, client_id=context.client_id, job_id=context.job_id
            )
            raise

    def _submit(self, request: GenerateRequest, context: RequestContext) -> Submission:
        place = self._place(request, context, is_guess=self._needs_nothing_before(request, context))
        if isinstance(place, Job):
            return Submission(place, is_new=False)
        try:
            request, quote = self.prepare(
                request, client_id=context.client_id, reproduction=context.reproduction
            )
            if request.init_image_url:
                self._repeat_rejection(quote, context, limits=context.limits)
                if made := self._existing(request, context):
                    return Submission(made, is_new=False)  # so that its image is not fetched again
                request = self.init_images.fetch(request, context, quote)
            job = self._new_job(request, context, quote)
            earlier = self._earlier(job, context)
            limits = context.limits.without_budgets() if earlier else context.limits
            self._repeat_rejection(quote, context, limits=limits)
        except RequestError:
            # An earlier call may have created the job while its upload existed, or budget was left.
            existing = self._existing(request, context)
            if existing is None:
                raise
            return Submission(existing, is_new=False)
        if earlier and (submission := self._reused(earlier, job, context)):
            return submission
        if not self._is_queued(request, context):
            job = job.start(now=job.created_at, seconds=context.seconds, quote=quote)
        # A message or an init image for a job that exists would disturb it.
        if (job.status is JobStatus.QUEUED or request.init_image) and (same := self._same(job)):
            return Submission(same, is_new=False)
        return self._store(job, context, place)

    def _repeat_rejection(
        self, quote: Quote, context: RequestContext, *, limits: ClientLimits
    ) -> None:
        """Refuse what was refused a moment ago, without a call. Raises what the refusal was."""
        now = self.clock.now()
        self.jobs.repeat_rejection(context.client_id, quote.micros, limits=limits, now=now)

    def _store(self, job: Job, context: RequestContext, place: Place | None) -> Submission:
        """Write a new job after its init image and its message, or find the existing one."""
        if image := job.request.init_image:
            key = self.images.save_init_image(job.folder, image)
            job = job.model_copy(update={"init_image_key": key})
        # A queued job's message is sent first, so that a worker will end every job that is stored.
        # That of a job which runs comes from the table's stream; see services.changes.
        if job.status is JobStatus.QUEUED:
            self.queue.send(job)
        try:
            submission = self._written(job, context, place)
        except RequestError:
            self._discard(job)
            raise
        except Sd3Error as error:
            error.job_id = job.id  # perhaps it is stored; then its message ends it
            raise
        except Exception as bug:
            unexpected = UnexpectedError(bug)
            unexpected.job_id = job.id
            raise unexpected from bug
        if submission.job.id != job.id:
            self._discard(job)
        return submission

    def _same(self, job: Job) -> Job | None:
        """Find the job that an earlier delivery of the same event created.

        Raises IdempotencyMismatchError if it is another client's, GoneError and StorageError.
        """
        try:
            found = self.jobs.get(job.id, now=self.clock.now())
        except NotFoundError:
            return None
        if found.client_id != job.client_id:
            raise IdempotencyMismatchError(_ID_TAKEN)
        return found

    def prepare(
        self, request: GenerateRequest, *, client_id: str, reproduction: Reproduction | None = None
    ) -> tuple[GenerateRequest, Quote]:
        """Read the request's init image, if it is here, and price the request. Nothing is stored.

        Raises InvalidRequestError for an upload or a URL that cannot be used and for what no
        upstream can generate, NotReproducibleError, and StorageError.
        """
        request = self.init_images.read(request, client_id)
        generator = self.generator.only(reproduction)
        generator.check(request, seconds=LONGEST_SECONDS)
        return request, generator.quote(request, has_image=request.has_init_image)

    def _existing(self, request: GenerateRequest, context: RequestContext) -> Job | None:
        """Find an earlier call's job: to adopt, with the same key, or else of the same id."""
        adopted = self._place(request, context)
        if isinstance(adopted, Job):
            return adopted
        now = self.clock.now()
        job_id, key = context.job_id, context.idempotency_key
        if key:
            record = self.jobs.find_idempotency_record(context.client_id, key, now=now)
            if record is None:
                return None
            _check_fingerprint(record, fingerprint_of(request, scaled_size=context.scaled_size))
            job_id = record.job_id
        try:
            job = self.jobs.get(job_id, client_id=context.client_id, now=now)
        except NotFoundError:
            return None
        return None if key and _releases_its_key(job) else job

    def _new_job(self, request: GenerateRequest, context: RequestContext, quote: Quote) -> Job:
        now = self.clock.now()
        return Job(
            id=context.job_id,
            client_id=context.client_id,
            client_name=context.client_name,
            status=JobStatus.QUEUED,
            created_at=now,
            expires_at=now + self.retention,
            request=request,
            seeds=resolve_seeds(request),
            inbox=context.inbox,
            scaled_size=context.scaled_size,
            reproduction=context.reproduction,
            quote=quote,
            cancel_at=context.cancel_after and now + context.cancel_after,
            result_key=self.reuse and self.reuse.key_of(request, context),
        )

    def _earlier(self, job: Job, context: RequestContext) -> Job | None:
        """Find the earlier job that answers a new one. Raises NotCachedError if one is required."""
        earlier = self.reuse.find(job, context.cache) if self.reuse else None
        if earlier is None and context.cache.only_if_cached:
            raise NotCachedError("There is no earlier result for this request.")
        return earlier

    def _reused(self, earlier: Job, job: Job, context: RequestContext) -> Submission | None:
        """Store a new job with the images of an earlier one; None if they cannot be copied."""
        if existing := self._existing(job.request, context):
            return Submission(existing, is_new=False)
        ended = self.reuse and self.reuse.copy(earlier, job)
        if ended:
            free = context._replace(limits=context.limits.without_budgets())
            return self._store(ended, free, place=None)
        if context.cache.only_if_cached:
            raise NotCachedError("The earlier result could not be copied.")
        return None

    def _needs_nothing_before(self, request: GenerateRequest, context: RequestContext) -> bool:
        """Return whether nothing is stored or sent for a request before its job is written."""
        return not (request.has_init_image or self._is_queued(request, context))

    def _is_queued(self, request: GenerateRequest, context: RequestContext) -> bool:
        too_long = request.num_images * request.steps > self.sync_image_steps
        return context.respond_async or too_long

    def _place(
        self, request: GenerateRequest, context: RequestContext, *, is_guess: bool = False
    ) -> Job | Place | None:
        """Find what a held call adopts, or where it is noted; see JobAdoption."""
        adoption = JobAdoption(jobs=self.jobs, clock=self.clock)
        return adoption.find(request, context, is_guess=is_guess)

    def _create_in(self, place: Place, job: Job, context: RequestContext) -> Submission | None:
        """Write the job and its place, or find the job to adopt; None if all places are taken."""
        for _ in range(_TRIES):
            found = self.jobs.create_once(
                job,
                place.key,
                fingerprint=fingerprint_of(job.request, scaled_size=job.scaled_size),
                instead_of=place.instead_of,
                limits=context.limits,
                held_until=context.hold_until,
            )
            if isinstance(found, Job):
                return Submission(found, is_new=True)
            if found.job_id == job.id:
                return self._found(job.id, job)
            other = self._place(job.request, context)  # an identical call was faster
            if isinstance(other, Job):
                return Submission(other, is_new=False)
            if other is None:
                break
            place = other
        return None

    def _written(self, job: Job, context: RequestContext, place: Place | None) -> Submission:
        """Write the job, or read the existing one, which also has precedence over a rate."""
        try:
            return self._create(job, context, place)
        except RateLimitedError:
            found = self._existing(job.request, context)
            if found is None:
                raise
            return Submission(found, is_new=False)

    def _create(self, job: Job, context: RequestContext, place: Place | None) -> Submission:
        """Write the job, or read the existing job of its place, key or id."""
        key, limits = context.idempotency_key, context.limits
        if place and (submission := self._create_in(place, job, context)):
            return submission
        if key is None:
            if stored := self.jobs.create(job, limits=limits):
                return Submission(stored, is_new=True)
            if same := self._same(job):
                return Submission(same, is_new=False)
            raise IdempotencyMismatchError(_ID_TAKEN)  # by a job that is removed just now
        fingerprint = fingerprint_of(job.request, scaled_size=job.scaled_size)
        instead_of = None
        for _ in range(_TRIES):
            found = self.jobs.create_once(
                job, key, fingerprint=fingerprint, instead_of=instead_of, limits=limits
            )
            if isinstance(found, Job):
                return Submission(found, is_new=True)
            _check_fingerprint(found, fingerprint)
            submission = self._found(found.job_id, job)
            if not _releases_its_key(submission.job):
                return submission
            instead_of = found.job_id
        raise StorageBusyError("The Idempotency-Key could not be taken.")

    def _found(self, job_id: str, job: Job) -> Submission:
        """Read the existing job."""
        found = self.jobs.get(job_id, client_id=job.client_id, now=self.clock.now())
        return Submission(found, is_new=False)

    def _discard(self, job: Job) -> None:
        """Remove the init image, and copies of images, of a job that was not written."""
        if job.init_image_key or job.images:
            with suppress(StorageError):  # then S3 removes them after the retention
                self.images.delete_all(job.folder, count=len(job.images))


def _check_fingerprint(record: IdempotencyRecord, fingerprint: str) -> None:
    if record.fingerprint != fingerprint:
        raise IdempotencyMismatchError("This Idempotency-Key was used with another request.")


def _releases_its_key(job: Job) -> bool:
    """Return whether the next call with a job's key tries again, since its failure may pass.

    What would be the same again and may have been paid is not paid twice by a client that repeats
    its calls.
    """
    if job.error is None or job.error.code not in _RETRYABLE:
        return False
    return not (job.is_final and job.cost_micros)
