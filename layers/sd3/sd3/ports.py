"""What the use cases need of the world: the Protocols of stores, queue and time."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from sd3.images import Picture
from sd3.models import DrawnPicture, ImageRecord, Job, JobPage, JobStatus, Link


class Holder(NamedTuple):
    """Who holds an Idempotency-Key: a job, and the fingerprint of its request."""

    job_id: str
    fingerprint: str


class Jobs(Protocol):
    """Where jobs are kept; jobs.JobStore says what each raises."""

    def create(self, job: Job) -> bool: ...
    def create_once(
        self, job: Job, key: str, *, fingerprint: str, instead_of: str | None
    ) -> Holder | None: ...
    def claim(self, job: Job, *, now: datetime) -> None: ...
    def save(self, job: Job) -> None: ...
    def stop(self, job: Job) -> None: ...
    def correct(self, job: Job) -> None: ...
    def redrive(self, job: Job) -> None: ...
    def delete(self, job: Job, *, now: datetime) -> None: ...
    def get(self, job_id: str, *, client_id: str | None = None, now: datetime) -> Job: ...
    def page(
        self,
        client_id: str,
        *,
        status: JobStatus | None,
        limit: int,
        after: tuple[str, str] | None,
        now: datetime,
    ) -> JobPage: ...


class Images(Protocol):
    """Where pictures are kept; storage.ImageStore says what each raises."""

    def put_init_image(self, folder: str, picture: Picture) -> str: ...
    def get_init_image(self, key: str) -> Picture: ...
    def put_all(self, folder: str, drawn: Sequence[DrawnPicture]) -> tuple[ImageRecord, ...]: ...
    def delete_all(self, folder: str, *, count: int) -> None: ...
    def sign(self, key: str, *, now: datetime) -> Link: ...


class Queue(Protocol):
    """Where the ids of jobs wait for a worker; job_queue.JobQueue says what it raises."""

    def send(self, job_id: str, *, delay_seconds: int = 0) -> None: ...


class Time(NamedTuple):
    """Clocks, and the ways to spend time; tests have their own."""

    now: Callable[[], datetime]
    """UTC."""
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    """A number from 0 to 1."""
