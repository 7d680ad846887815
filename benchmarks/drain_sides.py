"""The workers of a fleet: ours, built from the package's own parts, and naive ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from benchmarks.drain import EPOCH, Work, World
from benchmarks.vendor import BLOCK_SECONDS, RATE
from sd3.domain.generation import GeneratedImage, GenerationTask, SavedImages
from sd3.domain.job import ImageRecord, Job
from sd3.domain.progress import Pace
from sd3.errors import UpstreamThrottledError
from sd3.services.cancellation import JobCancellation
from sd3.services.execution import JobExecutor
from sd3.services.ports import Clock, Finish, ImageStorage, JobRepository, ProgressRepository
from sd3.services.progress import ProgressRecorder
from sd3.services.worker import Worker
from sd3.settings import UpstreamSettings
from sd3.upstreams.dispatch import RateLimitedUpstream
from sd3.upstreams.fallback import Fallback
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.schedule import RateBounds
from sd3.upstreams.rate_limit.table import RateLimitTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKER_SECONDS: Final = 300
SKEW_SECONDS: Final = 0.005
"""The largest error of a worker's clock."""
TABLE_SECONDS: Final = (0.001, 0.004)
"""The least and the longest way to the table, or back."""
NAIVE_BACKOFF_SECONDS: Final = (1, 60)
"""The first and the longest wait of exponential backoff with full jitter."""


@dataclass(frozen=True)
class DistantTable:
    """The table of the rate limiters, some milliseconds away."""

    world: World

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        """Update the item of the world, after a delay in which others may write."""
        self._travel()
        try:
            return self.world.limiter.update_item(**arguments)
        finally:
            self._travel()

    def _travel(self) -> None:
        self.world.time.sleep(self.world.random.uniform(*TABLE_SECONDS))


@dataclass(frozen=True)
class InMemoryJobs:
    """The part of JobRepository that a worker uses. Each job has one worker at a time."""

    items: dict[str, Job]

    def get(self, job_id: str, *, now: datetime) -> Job:  # noqa: ARG002 - the Protocol's
        """Return the job."""
        return self.items[job_id]

    def save(self, job: Job) -> Job:
        """Store the job."""
        self.items[job.id] = job
        return job


class NoMetrics:
    """The part of Metrics that a worker uses. It discards them."""

    def add(
        self, name: str, value: float, *, client_id: str, job_id: str, **dimensions: str
    ) -> None:
        """Discard a metric."""


class NoProgress:
    """The part of ProgressRepository that a worker uses. It discards what is measured."""

    def note_images(self, job: Job, done: int, *, now: datetime) -> None:
        """Discard a count."""

    def pace(self, lane: str, *, now: datetime) -> None:
        """Know nothing."""

    def note_pace(self, lane: str, pace: Pace, *, now: datetime) -> None:
        """Discard a pace."""


class NoImages:
    """The part of ImageStorage that a worker uses. It discards the images."""

    def save_all(
        self,
        folder: str,
        generated: Sequence[GeneratedImage],
        finish: Finish,  # noqa: ARG002 - no image is looked at
    ) -> SavedImages:
        """Return records of images, which are not stored."""
        records = tuple(
            ImageRecord(
                index=index,
                seed=one.seed,
                upstream=one.upstream,
                error=one.error,
                removed_for_safety=False,
                safety_score=None,
                key=f"{folder}/{index}" if one.image else None,
            )
            for index, one in enumerate(generated)
        )
        return SavedImages(records, tuple(generated))


def our_work(world: World) -> Work:
    """Make one of our workers, with a process's own state and clock."""
    skew = timedelta(seconds=world.random.uniform(-SKEW_SECONDS, SKEW_SECONDS))
    clock = Clock(
        now=lambda: EPOCH + timedelta(seconds=world.time.now) + skew,
        monotonic=lambda: world.time.now,
        sleep=world.time.sleep,
        jitter=world.random.random,
    )
    table = RateLimitTable(cast("DynamoDBClient", DistantTable(world)), "upstreams", "vendor")
    bounds = RateBounds(rate=RATE, pause_seconds=BLOCK_SECONDS)
    member = RateLimitedUpstream(
        settings=UpstreamSettings(name="vendor"),
        make=lambda: world.upstream,
        make_limiter=lambda _: SharedRateLimiter(
            table, bounds=bounds, clock=lambda: clock.now().timestamp()
        ),
        clock=clock.monotonic,
        sleep=clock.sleep,
        jitter=clock.jitter,
    )
    jobs = cast("JobRepository", InMemoryJobs(world.jobs))
    images = cast("ImageStorage", NoImages())
    generator, metrics = Fallback(make_members=lambda: [member]), NoMetrics()
    worker = Worker(
        jobs=jobs,
        images=images,
        generator=generator,
        executor=JobExecutor(
            jobs=jobs, images=images, generator=generator, clock=clock, metrics=metrics
        ),
        cancellation=JobCancellation(jobs=jobs, images=images),
        progress=ProgressRecorder(
            cast("ProgressRepository", NoProgress()), clock=clock, concurrency=1
        ),
        clock=clock,
        metrics=metrics,
        max_queue=timedelta(hours=6),
    )

    def work(job_id: str, receives: int) -> int | None:
        return worker.process(job_id, seconds=WORKER_SECONDS, sent_at=EPOCH, receives=receives)

    return work


def naive_work(world: World) -> Work:
    """Make a worker that calls at once, and after a 429 retries without end.

    It waits by exponential backoff with full jitter.
    """
    first, longest = NAIVE_BACKOFF_SECONDS

    def generate(task: GenerationTask) -> None:
        backoff = first
        while True:
            try:
                world.upstream.generate(task)
            except UpstreamThrottledError:
                world.time.sleep(world.random.random() * backoff)
                backoff = min(2 * backoff, longest)
            else:
                return

    def work(job_id: str, _receives: int) -> None:
        job = world.jobs[job_id]
        task = GenerationTask(job.request, dict(enumerate(job.seeds)), None, math.inf)
        world.time.gather([partial(generate, task.only([index])) for index in task.seeds])

    return work
