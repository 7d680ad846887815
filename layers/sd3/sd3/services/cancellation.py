"""The cancellation of a job: by its client, or since it has not begun in the time that it had."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sd3.domain.job import Job, JobStatus
from sd3.errors import StorageError
from sd3.services.ports import ImageStorage, JobRepository


@dataclass(frozen=True, kw_only=True)
class JobCancellation:
    """Ends open jobs as canceled."""

    jobs: JobRepository
    images: ImageStorage

    def cancel(self, job: Job, *, now: datetime) -> Job:
        """Cancel an open job. The init image of a queued one is removed.

        Raises LeaseLostError when it has changed since it was read, and StorageError.
        """
        canceled = self.jobs.save(job.cancel(now=now))
        # The attempt at a running one removes it, with the images that it stores.
        if job.status is JobStatus.QUEUED and job.init_image_key:
            with suppress(StorageError):  # then S3 removes it after the retention
                self.images.delete_all(job.folder, count=0)
        return canceled

    def cancel_overdue(self, job: Job, *, now: datetime) -> Job:
        """Cancel a job that is overdue, or return it as it is. Raises the same as `cancel`."""
        return self.cancel(job, now=now) if job.is_overdue(now) else job
