"""How far an open job has come: its place in the queue, its images, and when it may end."""

from datetime import datetime
from typing import Final, NamedTuple, Self

from sd3.domain.job import Job, JobStatus

MAX_POSITION: Final = 1000
"""The largest position that is told. Jobs further behind are told the same one."""

_NEWEST_SHARE: Final = 0.2
"""How much the newest job counts in an average: the last ten make up nine tenths of it."""


class ImagesDone(NamedTuple):
    """How many of a job's images are generated."""

    done: int
    of: int


class JobProgress(NamedTuple):
    """What is known of an open job. None is not known; a job that has ended has nothing."""

    queue_position: int | None = None
    """How many jobs wait before it."""
    eta_seconds: float | None = None
    """When it probably ends, from now."""
    images: ImagesDone | None = None


NOTHING_KNOWN: Final = JobProgress()


class Pace(NamedTuple):
    """How fast the workers go of late, in seconds, on an average."""

    job: float
    """The time from the beginning to the end of a job."""
    apart: float
    """The time from the beginning of one job to that of the next, while jobs wait."""

    def blended(self, newest: Self) -> "Pace":
        """Return the average with one more job."""
        return Pace(*(_blended(*both) for both in zip(self, newest, strict=True)))

    def until_end_of_waiting(self, job: Job, *, position: int, now: datetime) -> float:
        """Return how long it takes until a job that waits has ended."""
        held_back = (job.not_before - now).total_seconds() if job.not_before else 0.0
        return max(position * self.apart, held_back) + self.job

    def until_end_of_running(self, job: Job, *, now: datetime) -> float | None:
        """Return how long a job goes on; None once it takes longer than others."""
        left = self.job - _seconds_of_attempt(job, now)
        return left if left > 0 else None


def until_last_image(job: Job, images: ImagesDone, *, now: datetime) -> float | None:
    """Return how long the other images take, if they take as long as those that are done."""
    seconds = _seconds_of_attempt(job, now)
    if not images.done or seconds <= 0:
        return None
    return seconds / images.done * (images.of - images.done)


def counts_images(job: Job) -> bool:
    """Return whether the images of a job's attempt are counted: several, by a worker."""
    is_worked_on = job.status is JobStatus.RUNNING and job.started_at != job.created_at
    return is_worked_on and job.request.num_images > 1


def _seconds_of_attempt(job: Job, now: datetime) -> float:
    return (now - job.started_at).total_seconds() if job.started_at else 0.0


def _blended(before: float, newest: float) -> float:
    return before + _NEWEST_SHARE * (newest - before)
