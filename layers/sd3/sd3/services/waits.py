"""The waits of callers for a job. Those who know 202 may ask for one, and the others are held.

A caller that waits keeps a function busy, and the functions are everybody's. So the waits that a
client begins are counted.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sd3.domain.job import Job, JobError, JobStatus
from sd3.errors import (
    ContentPolicyError,
    GoneError,
    InvalidRequestError,
    LeaseLostError,
    Sd3Error,
    StillRunningError,
    StorageError,
    UpstreamError,
    UpstreamUnavailableError,
)
from sd3.responses.render import entity_tag
from sd3.services.cancellation import JobCancellation
from sd3.services.ports import ClientCounts, Clock, JobRepository

_logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
"""The time between two reads of a job that a client waits for."""


class JobView(NamedTuple):
    """A job, the ETag of its response, and whether the client already has that ETag."""

    job: Job
    etag: str
    not_modified: bool
    has_waited: bool = True
    """False if the client prefers to wait and has begun too many waits."""


@dataclass(frozen=True, kw_only=True)
class JobWaits:
    """Reads a job again and again until its caller gets an answer."""

    jobs: JobRepository
    cancellation: JobCancellation
    counts: ClientCounts
    clock: Clock
    url_ttl_seconds: int
    per_client: int
    """The waits that a client may begin in 20 s."""

    def view(
        self, job_id: str, *, client_id: str, wait_seconds: float, known_tags: frozenset[str]
    ) -> JobView:
        """Read a client's job once it has ended or changed, or at once if it may not wait.

        Raises NotFoundError, GoneError and StorageError.
        """
        until = self.clock.monotonic() + wait_seconds
        is_counted = False
        while True:
            now = self.clock.now()
            job = self._read(job_id, client_id)
            etag = entity_tag(job, now=now, url_ttl_seconds=self.url_ttl_seconds)
            not_modified = bool(known_tags & {"*", etag.removeprefix("W/")})
            has_changed = known_tags and not not_modified
            left = until - self.clock.monotonic()
            if job.status.is_terminal or has_changed or left <= 0:
                return JobView(job, etag, not_modified)
            if not is_counted and not self._may_wait(client_id):
                return JobView(job, etag, not_modified, has_waited=False)
            is_counted = True
            self.clock.sleep(min(POLL_SECONDS, left))

    def hold(self, job: Job, *, until: datetime, is_bounded: bool) -> Job:
        """Hold the caller until the job has ended with images.

        With `is_bounded` the wait is counted, and one too many is over at once. Raises what the job
        ended with instead of images, StillRunningError, GoneError and StorageError.
        """
        may_wait = job.status.is_terminal or not is_bounded or self._may_wait(job.client_id)
        while not job.status.is_terminal:
            left = (until - self.clock.now()).total_seconds()
            if left <= 0 or not may_wait:
                raise StillRunningError("The job goes on: repeat the call, or ask GET /jobs/{id}.")
            self.clock.sleep(min(POLL_SECONDS, left))
            with suppress(StorageError):  # an SDK would repeat a 500 at once, as a new job
                job = self._read(job.id, job.client_id)
        if job.status is JobStatus.CANCELED:
            raise GoneError("The job was canceled.")
        if job.error and not job.images:
            raise _raised(job.error)
        return job

    def _read(self, job_id: str, client_id: str) -> Job:
        """Read a job, which is canceled if it is overdue.

        Raises NotFoundError, GoneError and StorageError.
        """
        while True:
            now = self.clock.now()
            job = self.jobs.get(job_id, client_id=client_id, now=now)
            with suppress(LeaseLostError):  # it has begun or ended meanwhile
                return self.cancellation.cancel_overdue(job, now=now)

    def _may_wait(self, client_id: str) -> bool:
        try:
            return self.counts.count_wait(client_id, self.per_client, now=self.clock.now())
        except StorageError as error:  # the job was read, and is an answer
            _logger.warning("wait not counted", exc_info=error)
            return False


def _raised(error: JobError) -> Sd3Error:
    """Build the error by which a job has ended, to raise it for a caller that was held.

    It has the status of its code. A code that no job ends with is an internal error.
    """
    if error.code == InvalidRequestError.code:
        return InvalidRequestError((), message=error.message)
    kinds: tuple[type[UpstreamError], ...]
    kinds = (ContentPolicyError, UpstreamError, UpstreamUnavailableError)
    found = (kind(error.message) for kind in kinds if kind.code == error.code)
    return next(found, Sd3Error(error.message))
