"""One client that has all the traffic: its jobs' first and last writes, in virtual time.

Every job is made and ended by a process that does nothing else meanwhile, as in Lambda. A process
that is free takes the next job, so there are as many as there are jobs at one time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from random import Random
from typing import Any, Final, NamedTuple, cast

from benchmarks.deployed import stream_readers, table
from benchmarks.environments import Cloud, Environment, Function, in_virtual_time
from benchmarks.parallel import in_parallel
from benchmarks.stream import Reader, Stream
from benchmarks.table import Note
from benchmarks.timed_dynamodb import TimedDynamoDB
from benchmarks.timed_sqs import TimedSqs
from benchmarks.virtual_time import VirtualTime
from sd3.adapters.dynamodb.job_items import job_from
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.domain.billing import NO_USAGE, Charge, ChargeOutcome, Quote, UsageEntry, day_of
from sd3.domain.client import JWT_CLIENTS, ClientLimits
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import BudgetExceededError, StorageError
from sd3.services.ports import JobRepository
from sd3.settings import Settings

RATES: Final = (10, 100, 500, 2000)
"""Jobs a second."""
SECONDS: Final = 8
GENERATE_SECONDS: Final = 0.2
"""From a job's admission to its end."""
P99_AIM_MS: Final = 60
EPOCH: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
"""When virtual time begins. No day ends within a run."""
MICROS: Final = 30_000
"""What a job costs."""
ROOM: Final = 10**12
"""A budget in micro-dollars with room for all jobs."""
USERS: Final = 1000
"""Clients with JWTs, whose budget is one."""
LEDGER_FUNCTION: Final = "changes"
"""The function that records usage from the stream, where there is one."""

_TABLES: Final = {"jobs": table("JobsTable"), "usage": table("UsageTable")}
_SETTINGS: Final = Settings(jobs_table="jobs", usage_table="usage", queue_url="queue")


class Case(NamedTuple):
    """Jobs that arrive, and the limits of who makes them."""

    name: str
    daily_budget: int | None = None
    """In jobs; 0 for half of those that arrive."""
    total_budget: int | None = None
    """In micro-dollars; then the jobs are of many clients."""
    rate: int = 0
    seconds: float = SECONDS

    @property
    def jobs(self) -> int:
        """Return how many jobs arrive."""
        return round(self.rate * self.seconds)

    @property
    def allowed(self) -> int:
        """Return how many jobs the budget has room for."""
        return self.jobs // 2 if self.daily_budget == 0 else self.jobs

    @property
    def limits(self) -> ClientLimits:
        """Return the limits of each client."""
        budget = self.daily_budget
        return ClientLimits(
            daily_budget_micros=self.allowed * MICROS if budget == 0 else budget,
            total_daily_budget_micros=self.total_budget,
        )


CASES: Final = (
    Case("no limits"),
    Case("a budget", daily_budget=ROOM),
    Case("a budget for half", daily_budget=0),
    Case(f"{USERS} users, one budget", total_budget=ROOM),
)


@dataclass
class Outcome:
    """What became of the jobs."""

    case: Case
    waits: list[float] = field(default_factory=list)
    """How long each job waited for its admission, or for the error, in seconds."""
    refused: int = 0
    """Jobs that the budget had no room for."""
    failed: int = 0
    """Jobs that were not admitted for another reason."""
    unwritten: int = 0
    """Jobs whose end could not be written, although it was paid for."""
    wrong_days: int = 0
    """Days of the ledger that are not the sum of their jobs, once the stream has been read."""
    units: float = 0.0
    """Write units of all tables and indexes."""
    conflicts: int = 0
    throttled: int = 0
    lags: list[float] = field(default_factory=list)
    """How long after each write of a job it was in the ledger, where that is later."""


class Burst:
    """The world in which a case runs."""

    def __init__(self, case: Case, random: Random) -> None:
        self.outcome = Outcome(case)
        self.time = VirtualTime()
        self.database = TimedDynamoDB(self.time, _TABLES)
        self._case, self._random = case, random
        services = {
            "dynamodb": self.database,
            "sqs": TimedSqs(self.time, {"queue": None}),
        }
        self._cloud = Cloud(self.time, random, EPOCH, services, _replacements)
        self._generate = Function(self._cloud, "generate")
        self._functions = [self._generate]
        self._readers = list(self._made_readers())

    def run(self) -> Outcome:
        """Run until all jobs have ended and the stream has been read."""
        self.time.start(self._arrive)
        with in_virtual_time(self._cloud, self._functions):
            self.time.run()
            self.time.start(self._compare)
            self.time.run()
        outcome, database = self.outcome, self.database
        outcome.units = database.units.total()
        outcome.conflicts, outcome.throttled = database.conflicts, database.throttled
        for reader in self._readers:
            outcome.lags += reader.lags
        return outcome

    def _made_readers(self) -> Iterator[Reader]:
        stream = Stream(self.time)
        self.database.watch("jobs", stream.add)
        for settings in stream_readers():
            if settings.function == LEDGER_FUNCTION:
                function = Function(self._cloud, settings.function)
                self._functions.append(function)
                yield Reader(stream, settings, function.handle, self._random)

    def _arrive(self) -> None:
        """Start the jobs, each at a random moment."""
        case = self._case
        moments = sorted(self._random.uniform(0, case.seconds) for _ in range(case.jobs))
        for number, moment in enumerate(moments):
            self.time.start(partial(self._live, f"job-{number}"), after=moment)

    def _live(self, job_id: str) -> None:
        self._generate.call(partial(self._work, job_id))

    def _work(self, job_id: str, process: Environment) -> None:
        jobs = cast("JobRepository", process.bootstrap.job_service().jobs)
        began = self.time.now
        try:
            job = self._create(jobs, self._job(job_id))
        except BudgetExceededError:
            self.outcome.refused += 1
            return
        except StorageError:
            self.outcome.failed += 1
            return
        finally:
            self.outcome.waits.append(self.time.now - began)
        self.time.sleep(GENERATE_SECONDS)
        try:
            jobs.save(_ended(job, now=self._now))
        except StorageError:
            self.outcome.unwritten += 1

    def _create(self, jobs: JobRepository, job: Job) -> Job:
        limits = self._case.limits
        jobs.repeat_rejection(job.client_id, MICROS, limits=limits, now=job.created_at)
        stored = jobs.create(job, limits=limits)
        if stored is None:
            raise RuntimeError("a job's id was taken")
        return stored

    def _job(self, job_id: str) -> Job:
        """Make a job as a function writes it that answers at once: it runs already."""
        quote = Quote(upstream="stability", micros=MICROS)
        users = USERS if self._case.total_budget else 1
        return Job(
            id=job_id,
            client_id=f"bench-{self._random.randrange(users)}",
            status=JobStatus.QUEUED,
            created_at=self._now,
            expires_at=self._now + timedelta(days=30),
            request=GenerateRequest(prompt="a lighthouse"),
            seeds=(1,),
            quote=quote,
        ).start(now=self._now, seconds=60, quote=quote)

    def _compare(self) -> None:
        """Count the days of the ledger that are not the sum of their jobs."""
        items = [one.item for (name, *_), one in self.database.items.items() if name == "jobs"]
        jobs = [job_from(item) for item in items]
        usage = UsageStore(cast("Any", self.database), "usage")
        day = day_of(EPOCH)
        for owner, total in sums_of(jobs, group=bool(self._case.total_budget)).items():
            days = usage.days(owner, since=day, until=day)
            found = days[0].usage if days else NO_USAGE
            is_right = found == total
            if owner == JWT_CLIENTS:  # only what counts against the budget is of interest
                is_right = found.committed == total.committed
            self.outcome.wrong_days += not is_right

    @property
    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time.now)


def sums_of(jobs: list[Job], *, group: bool) -> dict[str, UsageEntry]:
    """Add up the jobs of each client, and of all of them where they share a budget."""
    sums: dict[str, UsageEntry] = {}
    for job in jobs:
        owners = (job.client_id, JWT_CLIENTS) if group else (job.client_id,)
        for owner in owners:
            sums[owner] = sums.get(owner, NO_USAGE) + job.usage
    return sums


def measure(_rounds: int) -> Iterator[Note]:
    """Have one client's jobs arrive at each rate, with each kind of limits."""
    title = f"one client's jobs arrive for {SECONDS} s, virtual time"
    yield Note(
        title,
        "aims: failed 0; refused as the budget says; unwritten 0;"
        f" p99 <= {P99_AIM_MS} ms; ledger exact",
    )
    cases = [case._replace(rate=rate) for rate in RATES for case in CASES]
    for outcome in in_parallel(run, cases):
        yield row(outcome)


def run(case: Case) -> Outcome:
    """Run a case, always with the same random numbers."""
    return Burst(case, Random(1)).run()  # noqa: S311 - nothing secret


def row(outcome: Outcome) -> Note:
    """Judge a run: nothing failed that was allowed, all ends written, and soon admitted."""
    case, jobs = outcome.case, len(outcome.waits)
    p50, p99 = milliseconds(outcome.waits, 0.5), milliseconds(outcome.waits, 0.99)
    is_met = (
        not outcome.failed
        and not outcome.unwritten
        and not outcome.wrong_days
        and outcome.refused == case.jobs - case.allowed
        and p99 <= P99_AIM_MS
    )
    ledger = f"{outcome.wrong_days} days wrong" if outcome.wrong_days else "exact"
    lag = f", {milliseconds(outcome.lags, 0.99):.0f} ms late" if outcome.lags else ""
    text = (
        f"failed {outcome.failed} of {jobs}; refused {outcome.refused};"
        f" unwritten {outcome.unwritten}; p50 {p50:.0f} ms, p99 {p99:.0f} ms;"
        f" {outcome.units / jobs:.1f} units; {outcome.conflicts} conflicts,"
        f" {outcome.throttled} throttled; ledger {ledger}{lag}: {'met' if is_met else 'missed'}"
    )
    return Note(f"{case.rate} jobs a second, {case.name}", text)


def milliseconds(seconds: list[float], share: float) -> float:
    """Return the time within which a share of them had ended."""
    return sorted(seconds)[ceil(share * len(seconds)) - 1] * 1000


def _replacements(_: Environment) -> Mapping[str, Any]:
    return {"_settings": lambda: _SETTINGS, "_images": lambda: None, "_uploads": lambda: None}


def _ended(job: Job, *, now: datetime) -> Job:
    image = ImageRecord(index=0, seed=1, upstream="stability", key=f"{job.folder}/0.png")
    charge = Charge(upstream="stability", outcome=ChargeOutcome.CHARGED, micros=MICROS)
    noted = job.note_images((image,), prediction_time_ms=GENERATE_SECONDS * 1000, ignored=())
    return noted.charge([charge]).succeed(now=now)
