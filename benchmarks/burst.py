"""One client that has all the traffic: its jobs' first and last writes, in virtual time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from random import Random
from typing import Any, Final, cast

from benchmarks.table import Note
from benchmarks.timed_dynamodb import TimedDynamoDB
from benchmarks.virtual_time import VirtualTime
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.domain.billing import Charge, ChargeOutcome, Quote
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import StorageError

RATES: Final = (10, 25, 50, 100, 500)
"""Jobs a second."""
TOP_RATE: Final = 2000
"""A measurement of its own: with the refusals that it has today it takes minutes."""
SECONDS: Final = 8
GENERATE_SECONDS: Final = 0.2
"""From a job's admission to its end."""
P99_AIM_MS: Final = 60
BUDGETS: Final = {
    "no budget": NO_LIMITS,
    "a budget": ClientLimits(daily_budget_micros=10**12),
}
"""The budget has room for all of the jobs."""
EPOCH: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
"""When virtual time begins. No day ends within a run."""
CLIENT: Final = "bench"
MICROS: Final = 30_000
"""What a job costs."""

_KEYS: Final = {"jobs": ("id",), "usage": ("client_id", "day")}


@dataclass
class Burst:
    """Jobs of one client, and what became of them."""

    limits: ClientLimits
    random: Random
    time: VirtualTime = field(default_factory=VirtualTime)
    waits: list[float] = field(default_factory=list)
    """How long each job waited for its admission, or for the error, in seconds."""
    failed: int = 0
    """Jobs that were not admitted."""
    unwritten: int = 0
    """Jobs whose end could not be written, although it was paid for."""

    def __post_init__(self) -> None:
        self.database = TimedDynamoDB(self.time, _KEYS)
        self._store = JobStore(
            cast("Any", self.database),
            "jobs",
            usage_table="usage",
            sleep=self.time.sleep,
            jitter=self.random.random,
        )

    def arrive(self, rate: int, seconds: float) -> None:
        """Start as many jobs as arrive in `seconds`, each at a random moment of them."""
        moments = sorted(self.random.uniform(0, seconds) for _ in range(round(rate * seconds)))
        for number, moment in enumerate(moments):
            self.time.sleep(moment - self.time.now)
            self.time.start(partial(self._live, f"job-{number}"))

    def milliseconds(self, share: float) -> float:
        """Return the time within which a share of the admissions had their answer."""
        return sorted(self.waits)[ceil(share * len(self.waits)) - 1] * 1000

    def _live(self, job_id: str) -> None:
        began = self.time.now
        try:
            job = self._store.create(self._job(job_id), limits=self.limits)
        except StorageError:
            self.failed += 1
            return
        finally:
            self.waits.append(self.time.now - began)
        if job is None:
            raise RuntimeError("a job's id was taken")
        self.time.sleep(GENERATE_SECONDS)
        try:
            self._store.save(_ended(job, now=self._now))
        except StorageError:
            self.unwritten += 1

    def _job(self, job_id: str) -> Job:
        """Make a job as a function writes it that answers at once: it runs already."""
        quote = Quote(upstream="stability", micros=MICROS)
        return Job(
            id=job_id,
            client_id=CLIENT,
            status=JobStatus.QUEUED,
            created_at=self._now,
            expires_at=self._now + timedelta(days=30),
            request=GenerateRequest(prompt="a lighthouse"),
            seeds=(1,),
            quote=quote,
        ).start(now=self._now, seconds=60, quote=quote)

    @property
    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time.now)


def measure(_rounds: int) -> Iterator[Note]:
    """Have one client's jobs arrive at each rate but the top one."""
    yield from _rows(RATES)
    yield Note(f"{TOP_RATE} jobs a second", f"takes minutes: name burst_{TOP_RATE}")


def measure_top(_rounds: int) -> Iterator[Note]:
    """Have one client's jobs arrive at the top rate."""
    yield from _rows((TOP_RATE,))


def _rows(rates: Sequence[int]) -> Iterator[Note]:
    """Run each rate without a budget and with one."""
    title = f"one client's jobs arrive for {SECONDS} s, virtual time"
    yield Note(title, f"aims: failed 0; unwritten 0; p99 <= {P99_AIM_MS} ms")
    for rate in rates:
        for name, limits in BUDGETS.items():
            yield row(f"{rate} jobs a second, {name}", run(rate, limits))


def run(rate: int, limits: ClientLimits = NO_LIMITS, *, seconds: float = SECONDS) -> Burst:
    """Run the jobs that arrive in `seconds` until all of them have ended."""
    burst = Burst(limits, Random(1))  # noqa: S311 - nothing secret
    burst.time.start(partial(burst.arrive, rate, seconds))
    burst.time.run()
    return burst


def row(name: str, burst: Burst) -> Note:
    """Judge a run: nothing failed, all ends written, and soon admitted."""
    p50, p99 = burst.milliseconds(0.5), burst.milliseconds(0.99)
    is_met = not burst.failed and not burst.unwritten and p99 <= P99_AIM_MS
    text = (
        f"failed {burst.failed} of {len(burst.waits)}; unwritten {burst.unwritten}; "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms: {'met' if is_met else 'missed'}"
    )
    return Note(name, text)


def _ended(job: Job, *, now: datetime) -> Job:
    image = ImageRecord(index=0, seed=1, upstream="stability", key=f"{job.folder}/0.png")
    charge = Charge(upstream="stability", outcome=ChargeOutcome.CHARGED, micros=MICROS)
    noted = job.note_images((image,), prediction_time_ms=GENERATE_SECONDS * 1000, ignored=())
    return noted.charge([charge]).succeed(now=now)
