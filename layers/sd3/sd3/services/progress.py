"""The progress of open jobs: what clients are told of it, and what workers record for that.

None of it is needed to end a job. So what fails here is logged, and nothing else.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from sd3.domain.generation import ignore_images
from sd3.domain.job import Job, JobStatus
from sd3.domain.progress import (
    NOTHING_KNOWN,
    ImagesDone,
    JobProgress,
    Pace,
    counts_images,
    until_last_image,
)
from sd3.errors import StorageError
from sd3.services.ports import Clock, ProgressRepository

_logger = logging.getLogger(__name__)

IMAGES_SECONDS: Final = 2.0
"""The time from one count of a job's images that is written to the next."""

PACE_SECONDS: Final = 10.0
"""The same for the pace, for each process."""


@dataclass(frozen=True, kw_only=True)
class ProgressReader:
    """Tells how far open jobs have come."""

    progress: ProgressRepository
    clock: Clock

    def of(self, job: Job) -> JobProgress:
        """Tell how far a job has come; raises nothing."""
        try:
            if job.status is JobStatus.QUEUED:
                return self._of_waiting(job)
            if job.status is JobStatus.RUNNING:
                return self._of_running(job)
        except StorageError as error:
            _logger.warning("progress not read", exc_info=error)
        return NOTHING_KNOWN

    def _of_waiting(self, job: Job) -> JobProgress:
        now, position = self.clock.now(), self.progress.position(job)
        pace = self.progress.pace(job.lane, now=now)
        eta = pace and pace.until_end_of_waiting(job, position=position, now=now)
        return JobProgress(position, eta)

    def _of_running(self, job: Job) -> JobProgress:
        now, images, eta = self.clock.now(), None, None
        if counts_images(job):
            images = ImagesDone(self.progress.images(job), job.request.num_images)
            eta = until_last_image(job, images, now=now)
        if eta is None and (pace := self.progress.pace(job.lane, now=now)):
            eta = pace.until_end_of_running(job, now=now)
        return JobProgress(eta_seconds=eta, images=images)


class ProgressRecorder:
    """Records, of the jobs of a worker, how many images they have and how long they take."""

    def __init__(self, progress: ProgressRepository, *, clock: Clock, concurrency: int) -> None:
        """`concurrency` is how many jobs of the lane are worked on at the same time."""
        self._progress, self._clock, self._concurrency = progress, clock, concurrency
        self._pace_at = 0.0
        """When the pace is written again, by the monotonic clock."""

    def counter(self, job: Job) -> Callable[[int], None]:
        """Return what is to be called with the number of images that were just generated."""
        if not counts_images(job):
            return ignore_images
        return _ImageCounter(self._progress, job, self._clock).add

    def note_end(self, job: Job, *, seconds: float, apart: float) -> None:
        """Record that a job took `seconds`; `apart` is what its upstreams let it be at least."""
        now = self._clock.monotonic()
        if now < self._pace_at:
            return
        self._pace_at = now + PACE_SECONDS
        newest = Pace(seconds, max(seconds / self._concurrency, apart))
        try:
            known = self._progress.pace(job.lane, now=self._clock.now())
            pace = known.blended(newest) if known else newest
            self._progress.note_pace(job.lane, pace, now=self._clock.now())
        except StorageError as error:
            _logger.warning("pace not recorded", exc_info=error)


class _ImageCounter:
    """Counts the images of one attempt, from several threads, and writes it now and then."""

    def __init__(self, progress: ProgressRepository, job: Job, clock: Clock) -> None:
        self._progress, self._job, self._clock = progress, job, clock
        self._lock, self._done, self._write_at = Lock(), 0, 0.0

    def add(self, images: int) -> None:
        """Count images; raises nothing."""
        with self._lock:
            self._done += images
            done, now = self._done, self._clock.monotonic()
            if now < self._write_at:
                return
            self._write_at = now + IMAGES_SECONDS
        try:
            self._progress.note_images(self._job, done, now=self._clock.now())
        except StorageError as error:
            _logger.warning("images not counted", exc_info=error)
