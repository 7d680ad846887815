"""The workers of a fleet: ours, of the package's own parts, and those that people write today."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from benchmarks.drain import EPOCH, Work, World
from benchmarks.vendor import BLOCK_SECONDS, RATE
from sd3.domain.generation import GeneratedImage, GenerationTask
from sd3.domain.job import ImageRecord, Job
from sd3.errors import UpstreamThrottledError
from sd3.services.execution import JobExecutor
from sd3.services.ports import Clock, ImageStorage, JobRepository
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
"""By how much a worker's clock is wrong, at the most."""
TABLE_SECONDS: Final = (0.001, 0.004)
"""To the table, and back."""
NAIVE_BACKOFF_SECONDS: Final = (1, 60)
"""The first, and the longest, of exponential backoff with full jitter."""


@dataclass(frozen=True)
class DistantGate:
    """The table of the limiters, some milliseconds away."""

    world: World

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        """As GateItem's, when others have had their time to write as well."""
        self._travel()
        try:
            return self.world.limiter.update_item(**arguments)
        finally:
            self._travel()

    def _travel(self) -> None:
        self.world.time.sleep(self.world.random.uniform(*TABLE_SECONDS))


@dataclass(frozen=True)
class KeptJobs:
    """What a worker needs of the jobs table, where each job has one worker at a time."""

    items: dict[str, Job]

    def get(self, job_id: str, *, now: datetime) -> Job:  # noqa: ARG002 - the Protocol's
        """The job."""
        return self.items[job_id]

    def save(self, job: Job) -> Job:
        """Keep it."""
        self.items[job.id] = job
        return job


class NoMetrics:
    """What a worker needs of the metrics: the drain is measured from outside."""

    def add(
        self, name: str, value: float, *, client_id: str, job_id: str, **dimensions: str
    ) -> None:
        """Note nothing."""


class NoImages:
    """What a worker needs of the bucket, and no bucket."""

    def save_all(self, folder: str, generated: Sequence[GeneratedImage]) -> tuple[ImageRecord, ...]:
        """The records of images that are not kept."""
        return tuple(
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


def our_work(world: World) -> Work:
    """One of our workers, as the function has it: in a process and with a clock of its own."""
    skew = timedelta(seconds=world.random.uniform(-SKEW_SECONDS, SKEW_SECONDS))
    clock = Clock(
        now=lambda: EPOCH + timedelta(seconds=world.time.now) + skew,
        monotonic=lambda: world.time.now,
        sleep=world.time.sleep,
        jitter=world.random.random,
    )
    table = RateLimitTable(cast("DynamoDBClient", DistantGate(world)), "upstreams", "vendor")
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
    jobs = cast("JobRepository", KeptJobs(world.jobs))
    images = cast("ImageStorage", NoImages())
    generator, metrics = Fallback(make_members=lambda: [member]), NoMetrics()
    worker = Worker(
        jobs=jobs,
        images=images,
        generator=generator,
        executor=JobExecutor(
            jobs=jobs, images=images, generator=generator, clock=clock, metrics=metrics
        ),
        clock=clock,
        metrics=metrics,
        max_queue=timedelta(hours=6),
    )

    def work(job_id: str, receives: int) -> int | None:
        return worker.process(job_id, seconds=WORKER_SECONDS, sent_at=EPOCH, receives=receives)

    return work


def naive_work(world: World) -> Work:
    """Call at once, and after a 429 again, by exponential backoff with full jitter, for ever."""
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
