"""What the use cases need of the world: the Protocols of stores, queue and time."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from sd3.domain.billing import DailyUsage, Quote
from sd3.domain.client import NO_LIMITS, Client, ClientLimits
from sd3.domain.generation import GeneratedImage, GenerationResult
from sd3.domain.image import Image, Link, UploadForm
from sd3.domain.inbox import InboxFile, InboxObject
from sd3.domain.job import IdempotencyRecord, ImageRecord, InboxOrigin, Job, JobPage, JobStatus
from sd3.domain.request import GenerateRequest


class JobRepository(Protocol):
    """Where jobs are kept; jobs.JobStore says what each raises."""

    def refuse(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> None: ...
    def create(self, job: Job, *, limits: ClientLimits = NO_LIMITS) -> bool: ...
    def create_once(
        self,
        job: Job,
        key: str,
        *,
        fingerprint: str,
        instead_of: str | None,
        limits: ClientLimits = NO_LIMITS,
    ) -> IdempotencyRecord | None: ...
    def holder(self, client_id: str, key: str, *, now: datetime) -> IdempotencyRecord | None: ...
    def claim(self, job: Job, *, now: datetime) -> None: ...
    def save(self, job: Job) -> None: ...
    def stop(self, job: Job, *, was: JobStatus | None = None) -> None: ...
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


class UsageRepository(Protocol):
    """The ledger, as it is read; usage_table.UsageStore says what it raises."""

    def days(self, client_id: str, *, since: str, until: str) -> tuple[DailyUsage, ...]: ...


class ImageStorage(Protocol):
    """Where images are kept; storage.ImageStore says what each raises."""

    def save_init_image(self, folder: str, image: Image) -> str: ...
    def get_init_image(self, key: str) -> Image: ...
    def save_all(
        self, folder: str, generated: Sequence[GeneratedImage]
    ) -> tuple[ImageRecord, ...]: ...
    def delete_all(self, folder: str, *, count: int) -> None: ...
    def sign(self, key: str, *, now: datetime) -> Link: ...


class UploadStorage(Protocol):
    """Where clients send large init images; upload_store.UploadStore says what each raises."""

    def form(
        self, client_id: str, upload_id: str, *, content_type: str, now: datetime
    ) -> UploadForm: ...
    def read(self, client_id: str, upload_id: str, *, now: datetime) -> bytes: ...


class ImageGenerator(Protocol):
    """Whoever generates; upstreams.fallback.Fallback says what each does."""

    def check(self, request: GenerateRequest) -> None: ...
    def quote(self, request: GenerateRequest, *, has_image: bool) -> Quote: ...
    def ignored(self, request: GenerateRequest, *, has_image: bool) -> tuple[str, ...]: ...
    def generate(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image | None,
        deadline: float,
    ) -> GenerationResult: ...


class MessageQueue(Protocol):
    """Where the ids of jobs wait for a worker; job_queue.SqsJobQueue says what it raises."""

    def send(self, job_id: str, *, delay_seconds: int = 0) -> None: ...


class ClientRepository(Protocol):
    """Who may ask; clients.ClientStore says what it raises."""

    def get(self, client_id: str) -> Client | None: ...


class InboxFiles(Protocol):
    """The inbox; inbox_store.InboxFileStore says what it raises."""

    def read(self, upload: InboxObject, *, max_bytes: int) -> InboxFile | None: ...


class InboxResults(Protocol):
    """Where the inbox is answered; inbox_store.InboxResultStore says what it raises."""

    def write(self, origin: InboxOrigin, body: str, *, first: bool) -> bool: ...


class EventPublisher(Protocol):
    """Where events go to; event_bus.EventBridgeBus says what they are."""

    def put(self, details: Sequence[str]) -> int: ...


class Clock(NamedTuple):
    """Clocks, and the ways to spend time; tests have their own."""

    now: Callable[[], datetime]
    """UTC."""
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    """A number from 0 to 1."""
