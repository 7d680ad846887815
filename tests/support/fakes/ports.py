"""Fakes in memory of the ports: an upstream, the stores, a queue and a clock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sd3.domain.billing import (
    NO_USAGE,
    DailyUsage,
    UsageEntry,
    budget_exceeded,
    day_of,
    rate_limited,
)
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.domain.client_url import UrlError, UrlPolicy, check_policy, read_url
from sd3.domain.generation import (
    NO_ORIGIN,
    GeneratedImage,
    GenerationTask,
    SavedImages,
    TaskOrigin,
    UpstreamResult,
)
from sd3.domain.image import Image, Link, UploadForm
from sd3.domain.job import BATCH, SINGLE, IdempotencyRecord, ImageRecord, Job, JobStatus
from sd3.domain.job_list import JobPage
from sd3.domain.progress import Pace
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    FieldError,
    GoneError,
    IdempotencyMismatchError,
    LeaseLostError,
    NotFoundError,
    Sd3Error,
    StorageError,
)
from sd3.observability import METRICS
from sd3.services.cancellation import JobCancellation
from sd3.services.execution import JobExecutor
from sd3.services.init_images import InitImages
from sd3.services.jobs import JobService
from sd3.services.ports import (
    Clock,
    Finish,
    ImageGenerator,
    ImageStorage,
    JobRepository,
    MessageQueue,
    Metrics,
    UploadStorage,
)
from sd3.services.progress import ProgressReader, ProgressRecorder
from sd3.services.provenance import ImageMarker
from sd3.services.reuse import ResultReuse
from sd3.services.submission import JobSubmission
from sd3.services.waits import JobWaits
from sd3.services.worker import Worker
from sd3.settings import Rate, UpstreamSettings
from sd3.upstreams.dispatch import Permit, RateLimitedUpstream
from sd3.upstreams.fallback import Fallback

QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.RUNNING
NO_MARKS = ImageMarker()
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def sample_image(index: int = 0, *, size: int = 3000) -> Image:
    """Make an image of which the bytes are never decoded."""
    return Image(bytes([index]) * size, "image/jpeg", 1024, 1024)


class FakeUpstream:
    """Generates at once. `errors` are raised first, in order; `removed` are filtered indexes."""

    name = "fake"
    images_per_call = 16
    rate: Rate | None = None
    model: str | None = None
    pause_seconds = 1

    def __init__(self, *, errors: Sequence[Sd3Error] = (), removed: Sequence[int] = ()) -> None:
        self.errors = list(errors)
        self.removed = set(removed)
        self.calls: list[GenerateRequest] = []
        self.init_images: list[Image | None] = []
        self.deadlines: list[float] = []

    def price(self, request: GenerateRequest) -> int:
        return 1000 * request.steps

    def unsupported(self, request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        return ()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        self.calls.append(task.request)
        self.init_images.append(task.init_image)
        self.deadlines.append(task.deadline)
        if self.errors:
            raise self.errors.pop(0)
        generated = (
            GeneratedImage(seed, None, 0.99)
            if index in self.removed
            else GeneratedImage(seed, sample_image(index))
            for index, seed in enumerate(task.seeds.values())
        )
        return UpstreamResult(tuple(generated), 1234.5)


class UnlimitedRateLimiter:
    """Permits every call at once, and records the outcomes of the calls."""

    def __init__(self) -> None:
        self.outcomes: list[Sequence[Sd3Error | None]] = []
        self.step_seconds: float | None = None

    def acquire(self, calls: int, *, patience: float, origin: TaskOrigin = NO_ORIGIN) -> Permit:
        return Permit((0.0,) * calls)

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> float:
        self.outcomes.append(errors)
        return 0.0

    def seconds_per_step(self) -> float | None:
        return self.step_seconds

    def note_step(self, seconds: float, *, is_least: bool) -> None:
        self.step_seconds = seconds


def fallback(*upstreams: FakeUpstream, clock: "FakeTime | None" = None) -> Fallback:
    """Make a fallback over upstreams in this order, each tried once, without rate limits."""
    time = (clock or FakeTime()).time()
    members = [
        RateLimitedUpstream(
            settings=UpstreamSettings(name=upstream.name),
            make=lambda upstream=upstream: upstream,  # type: ignore[misc] # bound in the loop
            make_limiter=lambda _: UnlimitedRateLimiter(),
            clock=time.monotonic,
            sleep=time.sleep,
            jitter=time.jitter,
        )
        for upstream in upstreams
    ]
    return Fallback(make_members=lambda: members, tries=1)


class FakeJobs:
    """The jobs table as a dict, with its conditions, its ledger, and all writes."""

    def __init__(self) -> None:
        self.items: dict[str, Job] = {}
        self.keys: dict[tuple[str, str], IdempotencyRecord] = {}
        self.deleted: dict[str, Job] = {}
        self.results: dict[tuple[str, str], str] = {}
        self.writes: list[Job] = []
        self.ledger: dict[tuple[str, str], UsageEntry] = {}
        self.minutes: Counter[tuple[str, str]] = Counter()

    def repeat_rejection(
        self, client_id: str, micros: int, *, limits: ClientLimits, now: datetime
    ) -> None:
        """Repeat nothing: this fake has no cache."""

    def create(self, job: Job, *, limits: ClientLimits = NO_LIMITS) -> Job | None:
        if job.id in self.items or job.id in self.deleted:
            return None
        return self._create(job, limits)

    def create_once(
        self,
        job: Job,
        key: str,
        *,
        fingerprint: str,
        instead_of: str | None,
        limits: ClientLimits = NO_LIMITS,
        held_until: datetime | None = None,
    ) -> Job | IdempotencyRecord:
        record = self.keys.get((job.client_id, key))
        if record and record.job_id != instead_of:
            return record
        if job.id in self.items or job.id in self.deleted:
            raise IdempotencyMismatchError("The id of this request is another job's.")
        stored = self._create(job, limits)
        self.keys[job.client_id, key] = IdempotencyRecord(job.id, fingerprint, held_until)
        return stored

    def hold(self, job: Job, key: str, record: IdempotencyRecord, *, until: datetime) -> bool:
        if self.keys[job.client_id, key] != record:
            return False
        self.keys[job.client_id, key] = record._replace(held_until=until)
        return True

    def find_idempotency_record(
        self, client_id: str, key: str, *, now: datetime
    ) -> IdempotencyRecord | None:
        return self.keys.get((client_id, key))

    def find_result(self, client_id: str, key: str) -> str | None:
        return self.results.get((client_id, key))

    def note_result(self, job: Job) -> None:
        assert job.result_key
        self.results[job.client_id, job.result_key] = job.id

    def days(self, client_id: str, *, since: str, until: str) -> tuple[DailyUsage, ...]:
        own = [
            DailyUsage(day, one)
            for (client, day), one in self.ledger.items()
            if client == client_id
        ]
        return tuple(sorted((one for one in own if since <= one.day <= until), reverse=True))

    def save(self, job: Job) -> Job:
        old = self.items.get(job.id)
        if old is None or old.version != job.version:
            raise LeaseLostError("changed")
        self._record(job, job.usage - old.usage)
        return self._write(job, version=job.version + 1)

    def delete(self, job: Job, *, now: datetime) -> None:
        old = self.items.get(job.id)
        if old and not old.status.is_terminal:
            raise LeaseLostError("open again")
        self.deleted.setdefault(job.id, self.items.pop(job.id, job))

    def find_all(self, job_ids: Sequence[str]) -> dict[str, Job]:
        return {job_id: self.items[job_id] for job_id in job_ids if job_id in self.items}

    def get(self, job_id: str, *, client_id: str | None = None, now: datetime) -> Job:
        if job_id in self.deleted and client_id in {None, self.deleted[job_id].client_id}:
            raise GoneError("The job was deleted.")
        job = self.items.get(job_id)
        if job is None or client_id not in {None, job.client_id}:
            raise NotFoundError("There is no such job.")
        if job.expires_at <= now:
            raise GoneError("The job has expired.")
        return job

    def page(
        self,
        client_id: str,
        *,
        status: JobStatus | None,
        limit: int,
        after: tuple[str, str] | None,
        now: datetime,
    ) -> JobPage:
        def position(job: Job) -> tuple[str, str]:
            return job.created_at.isoformat(), job.id

        own = [job for job in self.items.values() if job.client_id == client_id]
        own = [job for job in own if status in {None, job.status} and job.expires_at > now]
        own = sorted((job for job in own if after is None or position(job) < after), key=position)
        page = tuple(reversed(own[-limit:]))
        return JobPage(page, position(page[-1]) if len(own) > limit else None)

    def _create(self, job: Job, limits: ClientLimits) -> Job:
        now, micros = job.created_at, job.usage.committed
        day, minute = (job.client_id, day_of(now)), (job.client_id, f"{now:%Y-%m-%dT%H:%M}")
        if limits.daily_budget_micros is not None:
            left = limits.daily_budget_micros - self.ledger.get(day, NO_USAGE).committed
            if micros > left:
                raise budget_exceeded(micros, limits, left=left, now=now)
        if limits.requests_per_minute is not None:
            if self.minutes[minute] >= limits.requests_per_minute:
                raise rate_limited(limits, now=now)
            self.minutes[minute] += 1
        self._record(job, job.usage)
        return self._write(job, version=0)

    def _record(self, job: Job, change: UsageEntry) -> None:
        day = (job.client_id, day_of(job.created_at))
        self.ledger[day] = self.ledger.get(day, NO_USAGE) + change

    def _write(self, job: Job, *, version: int) -> Job:
        stored = job.model_copy(update={"version": version})
        self.items[job.id] = stored
        self.writes.append(stored)
        return stored


class FakeProgress:
    """The progress of the jobs of a table; `error` is what every call raises."""

    def __init__(self, jobs: FakeJobs | None = None, *, error: Sd3Error | None = None) -> None:
        self.jobs, self.error = jobs or FakeJobs(), error
        self.paces: list[tuple[str, Pace]] = []
        self.counted: list[tuple[str, int, int]] = []
        """Job, attempt and number of images, of each count."""

    def position(self, job: Job) -> int:
        self._fail()
        waiting = [one for one in self.jobs.items.values() if one.status is QUEUED]
        return sum(one.queued_at < job.queued_at for one in waiting if one.lane == job.lane)

    def images(self, job: Job) -> int:
        self._fail()
        own = [done for *of, done in self.counted if of == [job.id, job.attempt]]
        return own[-1] if own else 0

    def note_images(self, job: Job, done: int, *, now: datetime) -> None:
        self._fail()
        self.counted.append((job.id, job.attempt, done))

    def pace(self, lane: str, *, now: datetime) -> Pace | None:
        self._fail()
        return dict(self.paces).get(lane)

    def note_pace(self, lane: str, pace: Pace, *, now: datetime) -> None:
        self._fail()
        self.paces.append((lane, pace))

    def _fail(self) -> None:
        if self.error:
            raise self.error


class FakeCounts:
    """The waits and the forms for uploads of each client; `error` is what counting raises."""

    def __init__(self, *, error: Sd3Error | None = None) -> None:
        self.waits: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()
        self.error = error

    def count_wait(self, client_id: str, limit: int, *, now: datetime) -> bool:
        if self.error:
            raise self.error
        self.waits[client_id] += 1
        return self.waits[client_id] <= limit

    def count_batch(self, client_id: str, limits: ClientLimits, *, now: datetime) -> None:
        if self.error:
            raise self.error

    def count_upload(self, client_id: str, limits: ClientLimits, *, now: datetime) -> None:
        if self.error:
            raise self.error
        self.uploads[client_id] += 1


class FakeMetrics:
    """The recorded metrics: names, values and dimensions, in order."""

    def __init__(self) -> None:
        self.added: list[tuple[str, float, dict[str, str]]] = []
        self.ids: set[tuple[str, str]] = set()

    def add(
        self, name: str, value: float, *, client_id: str, job_id: str, **dimensions: str
    ) -> None:
        assert tuple(dimensions) == tuple(filter(None, [METRICS[name].dimension]))
        self.added.append((name, value, dimensions))
        self.ids.add((client_id, job_id))

    def of(self, name: str) -> list[tuple[float, dict[str, str]]]:
        """Return the values of one metric, with their dimensions."""
        return [(value, dimensions) for added, value, dimensions in self.added if added == name]


class FakeQueue:
    """The messages that were sent: the job's id and the delay in seconds."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

    def send(self, job: Job, *, delay_seconds: int = 0) -> None:
        self.sent.append((job.id, delay_seconds))

    def send_all(self, delayed: Sequence[tuple[Job, int]]) -> None:
        self.sent += [(job.id, seconds) for job, seconds in delayed]


class FakeTime:
    """Clocks that start at noon and at 1000 s; `sleep` and `advance` move them."""

    def __init__(self) -> None:
        self.slept = 0.0

    def advance(self, seconds: float) -> None:
        self.slept += seconds

    def time(self) -> Clock:
        return Clock(
            now=lambda: NOON + timedelta(seconds=self.slept),
            monotonic=lambda: 1000.0 + self.slept,
            sleep=self.advance,
            jitter=lambda: 0.5,
        )


class FakeImages:
    """The bucket as a dict; `error` is what a put raises."""

    def __init__(self, *, error: Sd3Error | None = None) -> None:
        self.objects: dict[str, Image] = {}
        self.error = error
        self.reads = 0

    def save_init_image(self, folder: str, image: Image) -> str:
        return self._put(f"{folder}/init.jpg", image)

    def get_init_image(self, key: str) -> Image:
        return self.objects[key]

    def delete_all(self, folder: str, *, count: int) -> None:
        for name in ("init", *range(count)):
            self.objects.pop(f"{folder}/{name}.jpg", None)

    def save_all(
        self, folder: str, generated: Sequence[GeneratedImage], finish: Finish
    ) -> SavedImages:
        finished = tuple(finish(index, one) for index, one in enumerate(generated))
        records = tuple(
            ImageRecord(
                index=index,
                seed=one.seed,
                upstream=one.upstream,
                model=one.model,
                error=one.error,
                removed_for_safety=one.image is None and one.error is None,
                safety_score=one.safety_score,
                key=one.image and self._put(f"{folder}/{index}.jpg", one.image),
                bytes=one.image and len(one.image.data),
                provenance=one.provenance,
                c2pa=one.c2pa,
                thumbhash=one.thumbhash,
            )
            for index, one in enumerate(finished)
        )
        return SavedImages(records, finished)

    def copy_all(self, folder: str, records: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        def copied(record: ImageRecord) -> ImageRecord:
            if record.key is None:
                return record
            if record.key not in self.objects:
                raise StorageError("There is no such image.")
            key = f"{folder}/{record.index}.jpg"
            return record.model_copy(update={"key": self._put(key, self.objects[record.key])})

        return tuple(map(copied, records))

    def read_all(self, records: Sequence[ImageRecord]) -> Mapping[int, bytes]:
        self.reads += len(records)
        keys = {record.index: record.key for record in records}
        return {index: self.objects[key].data for index, key in keys.items() if key in self.objects}

    def delete_renditions(self, folder: str) -> None:
        for key in [key for key in self.objects if key.startswith(f"_renditions/{folder}/")]:
            del self.objects[key]

    def sign(
        self, key: str, *, until: datetime, now: datetime, disposition: str | None = None
    ) -> Link:
        query = f"?{disposition}" if disposition else ""
        return Link(f"https://images.test/{key}{query}", min(until, now + timedelta(hours=1)))

    def _put(self, key: str, image: Image) -> str:
        if self.error:
            raise self.error
        self.objects[key] = image
        return key


class FakeUploads:
    """Uploads by client and id, with the time of each."""

    def __init__(self) -> None:
        self.sent: dict[tuple[str, str], tuple[bytes, datetime]] = {}

    def form(
        self, client_id: str, upload_id: str, *, content_type: str, max_bytes: int, now: datetime
    ) -> UploadForm:
        fields = {"key": f"{client_id}/{upload_id}", "Content-Type": content_type}
        return UploadForm("https://uploads.test/", fields, now + timedelta(minutes=15))

    def read(self, client_id: str, upload_id: str, *, now: datetime) -> bytes:
        data, sent_at = self.sent.get((client_id, upload_id), (b"", now - timedelta(days=1)))
        if now - sent_at >= timedelta(days=1):
            raise NotFoundError("There is no such upload.")
        return data


class FakeSource:
    """Images by their URLs, and the URLs that were fetched. Others cannot be fetched."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.seconds = 10.0

    def check(self, url: str) -> None:
        check_policy(read_url(url), UrlPolicy.PUBLIC)

    def fetch(self, url: str, *, max_bytes: int, seconds: float) -> bytes:
        assert (max_bytes, seconds) == (20_000_000, self.seconds)
        self.fetched.append(url)
        if url not in self.images:
            raise UrlError("its server answered 404")
        return self.images[url]


def make_submission(
    *,
    jobs: FakeJobs,
    images: ImageStorage | None = None,
    uploads: UploadStorage | None = None,
    source: FakeSource | None = None,
    counts: FakeCounts | None = None,
    queue: MessageQueue | None = None,
    generator: ImageGenerator | None = None,
    clock: FakeTime | None = None,
    metrics: Metrics | None = None,
    sync_image_steps: int = 120,
    reuses: bool = False,
) -> JobSubmission:
    """Make the use case that creates jobs, over fakes."""
    images, time = images or FakeImages(), (clock or FakeTime()).time()
    reuse = ResultReuse(jobs=jobs, images=images, clock=time, generated_by="fake")
    return JobSubmission(
        jobs=jobs,
        images=images,
        init_images=InitImages(
            uploads=uploads or FakeUploads(),
            source=lambda: source or FakeSource(),
            counts=counts or FakeCounts(),
            usage=jobs,
            clock=time,
        ),
        queue=queue or FakeQueue(),
        generator=generator or fallback(FakeUpstream(), clock=clock),
        clock=time,
        metrics=metrics or FakeMetrics(),
        sync_image_steps=sync_image_steps,
        retention=timedelta(days=30),
        reuse=reuse if reuses else None,
    )


def make_executor(
    *,
    jobs: JobRepository,
    images: ImageStorage | None = None,
    generator: ImageGenerator | None = None,
    clock: FakeTime | None = None,
    metrics: Metrics | None = None,
    marker: ImageMarker = NO_MARKS,
) -> JobExecutor:
    """Make the use case that executes jobs, over fakes."""
    return JobExecutor(
        jobs=jobs,
        images=images or FakeImages(),
        generator=generator or fallback(FakeUpstream(), clock=clock),
        clock=(clock or FakeTime()).time(),
        metrics=metrics or FakeMetrics(),
        marker=marker,
    )


def make_service(
    *,
    upstream: FakeUpstream | None = None,
    jobs: FakeJobs | None = None,
    images: FakeImages | None = None,
    uploads: FakeUploads | None = None,
    source: FakeSource | None = None,
    queue: FakeQueue | None = None,
    clock: FakeTime | None = None,
    metrics: Metrics | None = None,
    counts: FakeCounts | None = None,
    progress: FakeProgress | None = None,
    reuses: bool = False,
    marker: ImageMarker = NO_MARKS,
) -> JobService:
    """Make the use cases of clients, over fakes. A client may begin two waits."""
    jobs, images, queue = jobs or FakeJobs(), images or FakeImages(), queue or FakeQueue()
    uploads, clock = uploads or FakeUploads(), clock or FakeTime()
    generator = fallback(upstream or FakeUpstream(), clock=clock)
    cancellation = JobCancellation(jobs=jobs, images=images)
    reader = ProgressReader(progress=progress or FakeProgress(jobs), clock=clock.time())
    return JobService(
        submission=make_submission(
            jobs=jobs,
            images=images,
            uploads=uploads,
            source=source,
            queue=queue,
            generator=generator,
            clock=clock,
            metrics=metrics,
            reuses=reuses,
        ),
        executor=make_executor(
            jobs=jobs,
            images=images,
            generator=generator,
            clock=clock,
            metrics=metrics,
            marker=marker,
        ),
        waits=JobWaits(
            jobs=jobs,
            cancellation=cancellation,
            counts=counts or FakeCounts(),
            clock=clock.time(),
            url_ttl_seconds=3600,
            per_client=2,
        ),
        cancellation=cancellation,
        progress=lambda: reader,
        jobs=jobs,
        usage=jobs,
        images=images,
        queue=queue,
        generator=generator,
        clock=clock.time(),
    )


def make_worker(
    *,
    upstream: FakeUpstream | None = None,
    jobs: FakeJobs | None = None,
    images: FakeImages | None = None,
    clock: FakeTime | None = None,
    metrics: Metrics | None = None,
    progress: FakeProgress | None = None,
) -> Worker:
    """Make the use case of the queue, over fakes: one of two workers."""
    jobs, images, clock = jobs or FakeJobs(), images or FakeImages(), clock or FakeTime()
    metrics = metrics or FakeMetrics()
    generator = fallback(upstream or FakeUpstream(), clock=clock)
    return Worker(
        jobs=jobs,
        images=images,
        generator=generator,
        executor=make_executor(
            jobs=jobs, images=images, generator=generator, clock=clock, metrics=metrics
        ),
        cancellation=JobCancellation(jobs=jobs, images=images),
        progress=ProgressRecorder(
            progress or FakeProgress(jobs), clock=clock.time(), concurrency={SINGLE: 2, BATCH: 2}
        ),
        clock=clock.time(),
        metrics=metrics,
        max_queue=timedelta(hours=6),
    )
