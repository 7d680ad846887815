"""The ports of the use cases: Protocols of the stores, the queue, the upstreams and the clock."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from sd3.domain.billing import DailyUsage, Quote
from sd3.domain.client import NO_LIMITS, Client, ClientLimits
from sd3.domain.delivery import Delivery, DeliveryKey, DeliveryStatus, WebhookReply
from sd3.domain.generation import (
    GeneratedImage,
    GenerationResult,
    GenerationTask,
    SavedImages,
)
from sd3.domain.image import Image, Link, UploadForm
from sd3.domain.inbox import InboxFile, InboxObject, InboxOrigin
from sd3.domain.job import (
    IdempotencyRecord,
    ImageRecord,
    Job,
    JobChange,
    JobStatus,
    Reproduction,
)
from sd3.domain.job_list import JobPage
from sd3.domain.progress import Pace
from sd3.domain.provenance import Facts
from sd3.domain.request import GenerateRequest
from sd3.domain.webhook import Webhook

if TYPE_CHECKING:  # few functions need them at run time
    from sd3.domain.batch import Batch, BatchKey, BatchPart, BatchTask, RefusedLine
    from sd3.domain.batch_lines import LineRange
    from sd3.domain.rendition import Rendition, StoredFile


class JobRepository(Protocol):
    """The stored jobs; see adapters.dynamodb.jobs.JobStore for what each method raises.

    Every write returns the job as it is now stored, with its version.
    """

    def repeat_rejection(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> None: ...
    def create(self, job: Job, *, limits: ClientLimits = NO_LIMITS) -> Job | None: ...
    def create_once(
        self,
        job: Job,
        key: str,
        *,
        fingerprint: str,
        instead_of: str | None,
        limits: ClientLimits = NO_LIMITS,
        held_until: datetime | None = None,
    ) -> Job | IdempotencyRecord: ...
    def hold(self, job: Job, key: str, record: IdempotencyRecord, *, until: datetime) -> bool: ...
    def find_idempotency_record(
        self, client_id: str, key: str, *, now: datetime
    ) -> IdempotencyRecord | None: ...
    def find_result(self, client_id: str, key: str) -> str | None: ...
    def note_result(self, job: Job) -> None: ...
    def save(self, job: Job) -> Job: ...
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
    def find_all(self, job_ids: Sequence[str]) -> Mapping[str, Job]: ...


class ProgressRepository(Protocol):
    """What is known of open jobs; see adapters.dynamodb.progress.ProgressStore."""

    def position(self, job: Job) -> int: ...
    def images(self, job: Job) -> int: ...
    def note_images(self, job: Job, done: int, *, now: datetime) -> None: ...
    def pace(self, lane: str, *, now: datetime) -> Pace | None: ...
    def note_pace(self, lane: str, pace: Pace, *, now: datetime) -> None: ...


class ClientCounts(Protocol):
    """Counts what clients do; see adapters.dynamodb.counts.ClientCounts for what it raises."""

    def count_wait(self, client_id: str, limit: int, *, now: datetime) -> bool: ...
    def count_upload(self, client_id: str, limits: ClientLimits, *, now: datetime) -> None: ...
    def count_batch(self, client_id: str, limits: ClientLimits, *, now: datetime) -> None: ...


class UsageRepository(Protocol):
    """Reads the usage ledger; see adapters.dynamodb.ledger.UsageStore for what it raises."""

    def days(self, client_id: str, *, since: str, until: str) -> tuple[DailyUsage, ...]: ...


class UsageLedger(Protocol):
    """Writes the usage ledger; see adapters.dynamodb.ledger.UsageStore for what it raises."""

    def record(self, changes: Iterable[JobChange], *, now: datetime) -> None: ...


Finish = Callable[[int, GeneratedImage], GeneratedImage]
"""Makes of a generated image, by its index, what is stored of it; raises nothing."""


class ImageStorage(Protocol):
    """The stored images; see adapters.s3.images.ImageStore for what each method raises."""

    def save_init_image(self, folder: str, image: Image) -> str: ...
    def get_init_image(self, key: str) -> Image: ...
    def save_all(
        self, folder: str, generated: Sequence[GeneratedImage], finish: Finish
    ) -> SavedImages: ...
    def copy_all(self, folder: str, records: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]: ...
    def read_all(self, records: Sequence[ImageRecord]) -> Mapping[int, bytes]: ...
    def delete_all(self, folder: str, *, count: int) -> None: ...
    def delete_renditions(self, folder: str) -> None: ...
    def sign(
        self, key: str, *, until: datetime, now: datetime, disposition: str | None = None
    ) -> Link: ...


class RenditionStorage(Protocol):
    """The stored renditions of images; see adapters.s3.renditions.RenditionStore."""

    def find(
        self, image_key: str, rendition: "Rendition", *, now: datetime
    ) -> "StoredFile | None": ...
    def save(self, image_key: str, rendition: "Rendition", data: bytes) -> "StoredFile": ...


class Secrets(Protocol):
    """The master secrets; see adapters.secrets.MasterSecrets."""

    def prefetch(self) -> None: ...
    def fetched(self) -> tuple[bytes, ...]: ...


class FileSigner(Protocol):
    """What signs files; see adapters.c2pa.C2paSigner. It may raise anything."""

    def prefetch(self) -> None: ...
    def sign(self, data: bytes, content_type: str, facts: Facts) -> bytes: ...


class UploadStorage(Protocol):
    """The uploads of large files; see adapters.s3.uploads.UploadStore."""

    def form(
        self, client_id: str, upload_id: str, *, content_type: str, max_bytes: int, now: datetime
    ) -> UploadForm: ...
    def read(self, client_id: str, upload_id: str, *, now: datetime) -> bytes: ...


class ImageSource(Protocol):
    """Fetches images of other servers; see http.image_source.ImageSource for what it raises."""

    def check(self, url: str) -> None: ...
    def fetch(self, url: str, *, max_bytes: int, seconds: float) -> bytes: ...


class ImageGenerator(Protocol):
    """Generates images; see upstreams.fallback.Fallback for what each method does."""

    def only(self, reproduction: Reproduction | None) -> "ImageGenerator": ...
    def check(self, request: GenerateRequest, *, seconds: float) -> None: ...
    def quote(self, request: GenerateRequest, *, has_image: bool) -> Quote: ...
    def ignored(self, request: GenerateRequest, *, has_image: bool) -> tuple[str, ...]: ...
    def seconds_apart(
        self, request: GenerateRequest, *, has_image: bool, seconds: float
    ) -> float: ...
    def generate(self, task: GenerationTask) -> GenerationResult: ...


class MessageQueue(Protocol):
    """The queue of jobs for the worker; see adapters.sqs.SqsJobQueue for what it raises."""

    def send(self, job: Job, *, delay_seconds: int = 0) -> None: ...
    def send_all(self, delayed: Sequence[tuple[Job, int]]) -> None: ...


class ClientRepository(Protocol):
    """The known clients; see adapters.dynamodb.tokens.ClientStore for what it raises."""

    def get(self, client_id: str) -> Client | None: ...


class InboxFiles(Protocol):
    """The files of the inbox; see adapters.s3.inbox.InboxFileStore for what it raises."""

    def read(self, upload: InboxObject, *, max_bytes: int) -> InboxFile | None: ...
    def copy(self, upload: InboxObject, bucket: str, key: str, *, max_bytes: int) -> bool: ...


class InboxResults(Protocol):
    """The result files of the inbox; see adapters.s3.inbox.InboxResultStore for what it raises."""

    def write(self, origin: InboxOrigin, body: str, *, first: bool) -> bool: ...
    def write_lines(self, origin: InboxOrigin, file: IO[bytes]) -> bool: ...


class EventPublisher(Protocol):
    """Publishes events; see adapters.eventbridge.EventBridgeBus for what it raises."""

    def put(self, detail: str) -> None: ...


class WebhookRepository(Protocol):
    """Clients' webhooks and deliveries; see adapters.dynamodb.webhooks.WebhookStore."""

    def settings(self, client_id: str) -> Webhook: ...
    def save_settings(self, settings: Webhook) -> Webhook: ...
    def find_delivery(self, client_id: str, delivery_id: str) -> Delivery | None: ...
    def get_delivery(self, client_id: str, delivery_id: str) -> Delivery: ...
    def save_delivery(self, delivery: Delivery) -> Delivery: ...
    def deliveries(
        self,
        client_id: str,
        *,
        status: DeliveryStatus | None,
        cursor: str | None,
        since: str = "",
        until: str = "",
        limit: int,
    ) -> tuple[list[Delivery], str | None]: ...
    def take_slot(self, host: str) -> int | None: ...
    def free_slot(self, host: str, slot: int) -> None: ...


class DeliveryQueue(Protocol):
    """The queue of deliveries; see adapters.key_queue for what it raises."""

    def send(self, key: DeliveryKey, /) -> None: ...


class WebhookReceiver(Protocol):
    """Posts messages to receivers, and raises nothing; see http.webhook_receiver."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookReply: ...


class WebhookEvents(Protocol):
    """Publishes that a webhook was disabled; see adapters.eventbridge.EventBridgeBus."""

    def put_webhook_disabled(self, detail: str) -> None: ...


class BatchRepository(Protocol):
    """The stored batches; see adapters.dynamodb.batches.BatchStore for what each method raises."""

    def create(self, batch: "Batch", key: str | None, *, fingerprint: str) -> "BatchKey | None": ...
    def find_key(self, client_id: str, key: str, *, now: datetime) -> "BatchKey | None": ...
    def find(self, client_id: str, batch_id: str) -> "Batch | None": ...
    def get(self, client_id: str, batch_id: str, *, now: datetime) -> "Batch": ...
    def save(self, batch: "Batch") -> "Batch": ...
    def page(
        self, client_id: str, *, limit: int, cursor: str | None, now: datetime
    ) -> "tuple[list[Batch], str | None]": ...
    def count_open(self, client_id: str) -> int: ...
    def add_parts(self, batch: "Batch", ranges: "Iterable[LineRange]") -> None: ...
    def parts(self, client_id: str, batch_id: str) -> "list[BatchPart]": ...
    def part(self, client_id: str, batch_id: str, number: int) -> "BatchPart | None": ...
    def note_made(self, client_id: str, batch_id: str, number: int) -> None: ...
    def note_end(
        self, client_id: str, batch_id: str, part: int, line: int, *, succeeded: bool, micros: int
    ) -> "BatchPart | None": ...
    def refuse(self, batch: "Batch", line: "RefusedLine") -> None: ...
    def refused(self, client_id: str, batch_id: str) -> "dict[int, RefusedLine]": ...


class BatchStorage(Protocol):
    """The files of batches; see adapters.s3.batches.BatchFiles for what each method raises."""

    def put(self, key: str, data: bytes) -> None: ...
    def copy_upload(self, client_id: str, upload_id: str, key: str, *, now: datetime) -> None: ...
    def copy(self, bucket: str, source: str, etag: str, key: str) -> None: ...
    def chunks(self, key: str) -> Iterable[bytes]: ...
    def read(self, key: str, *, offset: int, length: int) -> bytes: ...
    def put_results(self, key: str, file: IO[bytes]) -> None: ...


class BatchQueue(Protocol):
    """The queue of the steps of batches; see adapters.key_queue for what it raises."""

    def send(self, task: "BatchTask", /) -> None: ...


class BatchEvents(Protocol):
    """Publishes the ends of batches; see adapters.eventbridge.EventBridgeBus."""

    def put_batch_ended(self, detail: str) -> None: ...


class Metrics(Protocol):
    """Records metrics, and raises nothing.

    observability.METRICS has their names, units and dimensions.
    """

    def add(
        self, name: str, value: float, *, client_id: str, job_id: str, **dimensions: str
    ) -> None: ...


class Clock(NamedTuple):
    """The clocks, the sleep and the jitter of a process; tests replace them."""

    now: Callable[[], datetime]
    """The time in UTC."""
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    """A number from 0 to 1."""
