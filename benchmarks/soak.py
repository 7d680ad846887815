"""Many jobs through the whole service in virtual time, while everything that can fail does.

Processes die before and after any call, requests and replies are lost, messages and records come
twice, clients repeat themselves, cancel and delete, and vendors fail in ways that nobody can know
the costs of. What runs is the service itself, on models of DynamoDB, SQS and the bus.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple, cast
from unittest.mock import patch

from benchmarks.aws_client import Network
from benchmarks.deployed import job_queue, stream_readers, table
from benchmarks.environments import (
    Cloud,
    Environment,
    Function,
    InvocationError,
    current,
    in_virtual_time,
)
from benchmarks.parallel import in_parallel
from benchmarks.soak_audit import Audit, Jobs, audit, audit_ledger
from benchmarks.soak_clients import Clients, kinds_of
from benchmarks.soak_services import Bucket, EventBus, Images, Vendor, Vendors
from benchmarks.stream import Reader, Stream
from benchmarks.table import Note
from benchmarks.timed_dynamodb import TimedDynamoDB
from benchmarks.timed_sqs import TimedQueue, TimedSqs
from benchmarks.virtual_time import VirtualTime
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.adapters.sqs import parse_message
from sd3.settings import Settings
from sd3.upstreams import UPSTREAMS

WORLDS: Final = 10
JOBS: Final = 10_000
"""Of each world."""
RATE: Final = 25.0
"""Requests a second."""
EPOCH: Final = datetime(2026, 11, 27, 23, 58, tzinfo=UTC)
"""When virtual time begins: a day ends while jobs are made and others run."""
WORKERS: Final = 200
POISON: Final = 0.0005
"""The share of the jobs whose worker dies before it can write anything, each time."""

_TABLES: Final = {
    "jobs": table("JobsTable"),
    "usage": table("UsageTable"),
    "upstreams": table("UpstreamsTable"),
    "webhooks": table("WebhooksTable"),
}
_SETTINGS: Final = Settings(
    jobs_table="jobs",
    usage_table="usage",
    upstreams_table="upstreams",
    webhooks_table="webhooks",
    images_bucket="images",
    queue_url="queue",
    unprocessable_queue_url="unprocessable",
    upstream="stability,octoai",
    upstream_url=",https://octoai.test",
    upstream_concurrency=",20",
)
"""Two vendors. Calls to the second one are bounded."""


class Weather(NamedTuple):
    """How bad it is: shares of calls, of moments around calls, of batches and of messages."""

    network: Network = Network(lost_requests=0.002, lost_replies=0.002, outages=0.0005)
    deaths: float = 0.001
    bucket_failures: float = 0.002
    repeated_batches: float = 0.05
    repeated_messages: float = 0.02


class Plan(NamedTuple):
    """One run."""

    jobs: int
    seed: int
    weather: Weather = Weather()


class World:
    """The service with its clients, in a plan's weather."""

    def __init__(self, plan: Plan) -> None:
        random = Random(plan.seed)  # noqa: S311 - nothing secret
        self._plan, self._random = plan, random
        self._time = VirtualTime()
        self._database = TimedDynamoDB(self._time, _TABLES)
        self._bus, self._bucket, self._vendors = EventBus(self._time), Bucket(), Vendors(random)
        self._queues: dict[str, TimedQueue | None] = {"unprocessable": None}
        self._sqs = TimedSqs(self._time, self._queues)
        services = {"dynamodb": self._database, "sqs": self._sqs, "events": self._bus}
        weather = plan.weather
        self._cloud = Cloud(
            self._time,
            random,
            EPOCH,
            services,
            self._replacements,
            network=weather.network,
            deaths=weather.deaths,
        )
        self._functions: dict[str, Function] = {}
        self._make_queues()
        self._jobs = Jobs(kinds_of(plan.jobs), self._vendors)
        self._database.watch("jobs", self._jobs.note)
        self._readers = list(self._made_readers())
        self._clients = Clients(
            self._cloud, self._function("generate"), self._function("jobs"), self._jobs.kinds
        )

    def run(self) -> Audit:
        """Run until nothing is left to do, and audit."""
        self._time.start(self._arrive)
        makers: dict[str, Callable[[object], Vendor]] = {
            name: partial(self._vendor, name) for name in ("stability", "octoai")
        }
        with (
            in_virtual_time(self._cloud, list(self._functions.values())),
            patch.dict(UPSTREAMS, cast("Any", makers)),
        ):
            self._time.run()
            return self._audit()

    def _audit(self) -> Audit:
        found = audit(
            self._jobs,
            vendors=self._vendors,
            bus=self._bus,
            bucket=self._bucket,
            keys=self._clients.keys,
        )
        usage = UsageStore(cast("Any", self._database), "usage")
        wrong: list[int] = []
        self._time.start(lambda: wrong.append(audit_ledger(self._jobs, usage)))
        self._time.run()
        [found.wrong_days] = wrong
        queues = [queue for queue in self._queues.values() if queue]
        found.messages = sum(queue.open for queue in queues) + len(self._sqs.unread)
        found.bugs = len(self._cloud.bugs)
        found.counts += self._cloud.counts
        found.counts["vendor faults"] = self._vendors.faults.total()
        found.counts["calls of clients"] = self._clients.counts["calls"]
        found.counts["messages received"] = sum(queue.counts["received"] for queue in queues)
        found.counts["messages twice"] = sum(queue.counts["repeated"] for queue in queues)
        found.counts["messages given up"] = sum(queue.counts["dead"] for queue in queues)
        for reader in self._readers:
            found.counts["batches again"] += reader.counts["repeated"] + reader.counts["failures"]
        found.counts["canceled or deleted"] = (
            self._clients.counts["cancel"] + self._clients.counts["delete"]
        )
        found.counts["refused"] = sum(
            self._clients.counts[code] for code in ("budget_exceeded", "rate_limited")
        )
        return found

    def _arrive(self) -> None:
        """Start requests until there are enough jobs."""
        number = 0
        while len(self._jobs.last) < self._plan.jobs:
            self._clients.arrive(number)
            number += 1
            self._time.sleep(self._random.expovariate(RATE))

    def _function(self, name: str) -> Function:
        if name not in self._functions:
            self._functions[name] = Function(self._cloud, name)
        return self._functions[name]

    def _make_queues(self) -> None:
        settings, weather = job_queue(), self._plan.weather
        self._worker = self._function("worker")
        dead = TimedQueue(
            self._time,
            self._random,
            self._function("dead_letters").handle,
            visibility_seconds=180,
            epoch=EPOCH.timestamp(),
            repeated=weather.repeated_messages,
        )
        self._queues["dead"] = dead
        self._queues["queue"] = TimedQueue(
            self._time,
            self._random,
            self._work,
            visibility_seconds=settings.visibility_seconds,
            most_receives=settings.most_receives,
            dead_letters=dead,
            concurrency=WORKERS,
            epoch=EPOCH.timestamp(),
            repeated=weather.repeated_messages,
        )
        self._poison = Random(self._plan.seed)  # noqa: S311 - nothing secret
        self._is_poison: dict[str | None, bool] = {}

    def _work(self, event: dict[str, Any]) -> Any:
        """Give a message to the worker, or have it die at once, each time, for some jobs."""
        job_id = parse_message(event["Records"][0]["body"])
        if self._is_poison.setdefault(job_id, self._poison.random() < POISON):
            raise InvocationError("worker")
        return self._worker.handle(event)

    def _made_readers(self) -> Iterator[Reader]:
        """Make the functions that template.yaml has read the stream read it here."""
        stream = Stream(self._time)
        self._database.watch("jobs", stream.add)
        repeated = self._plan.weather.repeated_batches
        for settings in stream_readers():
            handler = self._function(settings.function).handle
            yield Reader(stream, settings, handler, self._random, repeated=repeated)

    def _replacements(self, process: Environment) -> Mapping[str, Callable[[], Any]]:
        images = Images(self._bucket, process, self._plan.weather.bucket_failures)
        return {
            "_settings": lambda: _SETTINGS,
            "_images": lambda: images,
            "_uploads": lambda: None,
            "_results": lambda: None,
        }

    def _vendor(self, name: str, _options: object) -> Vendor:
        return Vendor(name, self._vendors, current())


def run(plan: Plan) -> Audit:
    """Run a plan, always with the same random numbers."""
    return World(plan).run()


def measure(_rounds: int) -> Iterator[Note]:
    """Run all worlds, and judge them together."""
    plans = [Plan(JOBS, seed) for seed in range(1, WORLDS + 1)]
    total = Audit()
    for found in in_parallel(run, plans):
        total.add(found)
    yield from rows(total)


AIMS: Final = {
    "open": "jobs that have not ended",
    "wrong_days": "days of the ledger that differ from their jobs",
    "unbilled": "images that a vendor has billed and no charge has",
    "overcharged": "images charged for certain that no vendor has sent",
    "twice": "attempts that are charged more than their images",
    "without_event": "ends without an event",
    "false_events": "events without an end",
    "ended_twice": "jobs that have ended twice",
    "without_image": "images of succeeded jobs that are not stored",
    "double_keys": "Idempotency-Keys with two jobs that count",
    "over_budget": "jobs made beyond a budget",
    "messages": "messages that stay in a queue",
    "bugs": "exceptions that nobody expects",
}


def rows(total: Audit) -> Iterator[Note]:
    """Judge what is wrong, each with the aim 0, and tell what has happened."""
    counts: Counter[str] = total.counts
    yield Note(f"{counts['jobs']} jobs in {WORLDS} worlds, virtual time", "aim of each row: 0")
    for name, text in AIMS.items():
        value = total.faults[name]
        yield Note(text, f"{value}: {'missed' if value else 'met'}")
    for name in sorted(counts):
        yield Note(f"  {name}", str(counts[name]))
