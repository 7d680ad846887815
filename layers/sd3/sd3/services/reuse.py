"""The reuse of results: a request that names every seed gets the images of an earlier one again.

The images are copied, for nothing, to a job of the request's own. So each job keeps what it has
when the other one is deleted or expires. No client gets another one's images.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass

from sd3.domain.client import CacheControl, RequestContext
from sd3.domain.job import Job
from sd3.domain.request import GenerateRequest
from sd3.domain.reuse import names_every_seed, result_key
from sd3.errors import GoneError, NotFoundError, StorageError
from sd3.services.ports import Clock, ImageStorage, JobRepository

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ResultReuse:
    """Finds an earlier job with the images of a request, and copies them.

    It raises nothing: without what it needs, the request is generated.
    """

    jobs: JobRepository
    images: ImageStorage
    clock: Clock
    generated_by: str
    """What the operator has configured that decides which images a request gets."""

    def key_of(self, request: GenerateRequest, context: RequestContext) -> str | None:
        """Return the key of a request's result; None for one that is not to be found again."""
        if not (context.cache.stores and names_every_seed(request)):
            return None
        return result_key(
            request,
            client_id=context.client_id,
            generated_by=self.generated_by,
            scaled_size=context.scaled_size,
        )

    def find(self, job: Job, cache: CacheControl) -> Job | None:
        """Find an earlier job whose images answer a new one, if its client takes such."""
        if job.result_key is None or not cache.reads:
            return None
        try:
            earlier = self._with_result(job.client_id, job.result_key)
        except (GoneError, NotFoundError):
            return None
        except StorageError as error:
            _logger.warning("result not looked up", exc_info=error)
            return None
        return earlier if earlier and self._is_new_enough(earlier, cache) else None

    def copy(self, earlier: Job, job: Job) -> Job | None:
        """Copy the images of an earlier job to a new one, and end it; None if that fails."""
        try:
            copies = self.images.copy_all(job.folder, earlier.images)
        except StorageError as error:
            _logger.warning("result not copied", exc_info=error, extra={"job_id": earlier.id})
            with suppress(StorageError):  # then S3 removes them after the retention
                self.images.delete_all(job.folder, count=job.request.num_images)
            return None
        return job.reuse(earlier, copies, now=self.clock.now())

    def _with_result(self, client_id: str, key: str) -> Job | None:
        job_id = self.jobs.find_result(client_id, key)
        if job_id is None:
            return None
        job = self.jobs.get(job_id, client_id=client_id, now=self.clock.now())
        return job if job.is_reusable else None

    def _is_new_enough(self, job: Job, cache: CacheControl) -> bool:
        if cache.max_age is None or job.completed_at is None:
            return cache.max_age is None
        return (self.clock.now() - job.completed_at).total_seconds() <= cache.max_age
