"""The execution of one attempt at a job: generate images, store them, save the result."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.generation import (
    GeneratedImage,
    GenerationResult,
    GenerationTask,
    TaskOrigin,
    ignore_images,
)
from sd3.domain.image import Image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.job import Job, JobStatus
from sd3.errors import (
    ContentPolicyError,
    GoneError,
    LeaseLostError,
    NotFoundError,
    Sd3Error,
    StorageError,
    UnexpectedError,
)
from sd3.services.ports import (
    Clock,
    Finish,
    ImageGenerator,
    ImageStorage,
    JobRepository,
    Metrics,
)
from sd3.services.provenance import ImageMarker

_logger = logging.getLogger(__name__)

STORE_SECONDS: Final = 15
"""The time reserved for storing the images and saving the job after the last call."""

LONGEST_SECONDS: Final = 300 - STORE_SECONDS
"""The time for the calls of one attempt: the worker's Timeout, without what is reserved."""


class Execution(NamedTuple):
    """The result of an attempt. Either the job has ended, or `error` says why not; see finish."""

    job: Job
    images: tuple[GeneratedImage, ...] = ()
    error: Sd3Error | None = None
    upstream_seconds: float = 0.0
    """The time from the first call's wait for a slot to the last image."""


@dataclass(frozen=True, kw_only=True)
class JobExecutor:
    """Executes jobs that the caller has started."""

    jobs: JobRepository
    images: ImageStorage
    generator: ImageGenerator
    clock: Clock
    metrics: Metrics
    marker: ImageMarker = field(default_factory=ImageMarker)

    def execute(
        self,
        job: Job,
        init_image: Image | None,
        *,
        until: float,
        count_images: Callable[[int], None] = ignore_images,
    ) -> Execution:
        """Generate and store the images before `until`, a time of the monotonic clock.

        `count_images` is the task's. Raises nothing and does not save the job. The returned job has
        a charge for every call to an upstream.
        """
        task = GenerationTask(
            job.request,
            dict(enumerate(job.seeds)),
            init_image,
            until - STORE_SECONDS,
            TaskOrigin(job.client_id, job.id, is_retry=job.was_called_for),
            count_images,
        )
        self.marker.prefetch()
        began = self.clock.monotonic()
        try:
            result = self.generator.only(job.reproduction).generate(task)
        except Exception as bug:
            _logger.exception("unexpected exception")
            # Which calls were made is not known: the quote counts as perhaps charged.
            job = job.charge_unknown()
            result = GenerationResult(error=UnexpectedError(bug, may_have_charged=True))
        seconds = self.clock.monotonic() - began
        job = job.charge(result.charges)
        for name in result.refused_by:
            self._add("UpstreamRefused", 1, job, upstream=name)
        for name, open_seconds in result.opened.items():
            self._add("BreakerOpenMs", 1000 * open_seconds, job, upstream=name)
        self.count_unknown(job, [one for one in job.charges if one.attempt == job.attempt])
        finish = self.marker.of(job, has_init_image=init_image is not None, ignored=result.ignored)
        if job.request.placeholder:
            finish = _with_placeholders(finish)
        return self._store(job, result, finish)._replace(upstream_seconds=seconds)

    def _store(self, job: Job, result: GenerationResult, finish: Finish) -> Execution:
        if result.error:
            return Execution(job, error=result.error)
        try:
            images = _scaled(result.images, job.scaled_size)
            records, images = self.images.save_all(job.folder, images, finish)
        except StorageError as error:
            return Execution(job, error=error)
        except Exception as bug:
            _logger.exception("unexpected exception")
            return Execution(job, error=UnexpectedError(bug))
        unsigned = sum(record.c2pa is False for record in records)
        if unsigned:
            self._add("ImagesNotSigned", unsigned, job)
        job = job.note_images(
            records, prediction_time_ms=result.prediction_time_ms, ignored=result.ignored
        )
        now = self.clock.now()
        if any(record.key for record in records):
            return Execution(job.succeed(now=now), images)
        removed = ContentPolicyError("Every image was removed for safety.")
        return Execution(job.fail(removed, now=now), images)

    def measure(self, execution: Execution, *, since: float) -> None:
        """Record how long an attempt took that began at `since`, a time of the monotonic clock.

        Time that is not the upstream's counts as our own.
        """
        upstream = execution.upstream_seconds
        own = self.clock.monotonic() - since - upstream
        self._add("UpstreamMs", 1000 * upstream, execution.job)
        self._add("OwnMs", 1000 * own, execution.job)

    def count_unknown(self, job: Job, charges: Iterable[Charge]) -> None:
        """Count the charges of a job's attempt whose outcome is unknown."""
        for charge in charges:
            if charge.outcome is ChargeOutcome.UNKNOWN:
                self._add("UpstreamUnknownOutcome", 1, job, upstream=charge.upstream)

    def finish(self, job: Job) -> Job | None:
        """Save the job after an attempt; None when it was canceled or deleted meanwhile.

        In that case its images are removed and its charge stays recorded. Raises LeaseLostError
        when another attempt has taken the job over, and StorageError.
        """
        try:
            saved = self.jobs.save(job)
        except LeaseLostError:
            stored = self._stored(job)
            if stored and stored.status is not JobStatus.CANCELED:
                raise
            if stored and stored.attempt == job.attempt:
                with suppress(LeaseLostError):  # deleted meanwhile
                    self.jobs.save(stored.settle(job.charges))
            self.images.delete_all(job.folder, count=job.request.num_images)
            return None
        self._note_result(saved)
        return saved

    def _note_result(self, job: Job) -> None:
        """Let a result be found that can be reused. The job has ended, whatever happens here."""
        if job.result_key and job.is_reusable:
            try:
                self.jobs.note_result(job)
            except Exception:
                _logger.exception("a result was not noted")

    def abandon(self, started: Job, execution: Execution, bug: Exception) -> UnexpectedError:
        """End a job whose result could not be saved for a bug, with the charges of its attempt.

        `started` is the job as it was before the attempt. Returns the error to raise, and raises
        nothing: if the job cannot be ended either, its message ends it later.
        """
        error = UnexpectedError(bug)
        charges = execution.job.charges[len(started.charges) :]
        try:
            self.jobs.save(started.charge(charges).fail(error, now=self.clock.now()))
        except Exception:
            _logger.exception("a job could not be ended")
        return error

    def _add(self, name: str, value: float, job: Job, **dimensions: str) -> None:
        self.metrics.add(name, value, client_id=job.client_id, job_id=job.id, **dimensions)

    def _stored(self, job: Job) -> Job | None:
        try:
            return self.jobs.get(job.id, now=self.clock.now())
        except (GoneError, NotFoundError):
            return None


def _scaled(
    images: tuple[GeneratedImage, ...], size: tuple[int, int] | None
) -> tuple[GeneratedImage, ...]:
    """Scale the images of a job that asks for it; one that cannot be decoded stays as it is."""
    if size is None:
        return images
    from sd3.domain.scaled_image import scaled  # noqa: PLC0415 - few jobs ask for it

    def scaled_if_whole(one: GeneratedImage) -> GeneratedImage:
        with suppress(InvalidImageError):
            return one._replace(image=one.image and scaled(one.image, size))
        return one

    return tuple(map(scaled_if_whole, images))


def _with_placeholders(finish: Finish) -> Finish:
    """Have images finished with a placeholder. It raises nothing: the image is paid for."""
    from sd3.domain.placeholder import make_thumbhash  # noqa: PLC0415 - few jobs ask for it

    def finish_all(index: int, generated: GeneratedImage) -> GeneratedImage:
        finished = finish(index, generated)
        try:
            return finished._replace(thumbhash=finished.image and make_thumbhash(finished.image))
        except Exception as error:
            _logger.warning("no placeholder", exc_info=error, extra={"index": index})
            return finished

    return finish_all
