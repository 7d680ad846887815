"""What a job and a page of jobs cost in the jobs table: units, calls and stored bytes.

The real JobStore writes and reads on moto. Units are counted by DynamoDB's documentation, once for
the indexes as they are, which have keys only, and once for indexes that have whole items.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

import boto3
from moto import mock_aws

from benchmarks.table import Note
from benchmarks.table_units import (
    JOBS_INDEXES,
    STORED_BYTES,
    Item,
    index_units,
    item_bytes,
    read_units,
    write_units,
)
from sd3.adapters.dynamodb.job_items import item_from
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.sharded_index import BY_CLIENT, FAILED_BY_DAY, WAITING
from sd3.domain.billing import Charge, ChargeOutcome, Quote
from sd3.domain.job import ImageRecord, Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import UpstreamFailedError

PROMPTS: Final = {"1 KB": (1000, 0), "20 KB": (10_000, 10_000)}
"""The characters of prompt and negative prompt. The second pair are the longest."""
SIZES: Final = (10, 1000, 20_000)
"""Jobs in the table."""
LIMITS: Final = (20, 100)
NOW: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
CLIENT: Final = "acme"

_WHOLE: Final = tuple(index._replace(has_whole_items=True) for index in JOBS_INDEXES)
_INDEX_NAMES: Final = (BY_CLIENT.name, FAILED_BY_DAY.name, WAITING.name)
_QUERY_BYTES: Final = 2**20
"""The most that a query reads."""
_BATCH: Final = 25
"""The most items that DynamoDB writes in one call."""
_QUOTE: Final = Quote(upstream="stability", micros=30_000)


class MeteredDynamoDB:
    """A DynamoDB client that counts the calls and units of the jobs table.

    Reads are counted as eventually consistent. `whole` are the units of indexes with whole items.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._items: dict[str, Item] = {}
        self._lock = Lock()
        self.calls: Counter[str] = Counter()
        self.units: dict[str, float] = defaultdict(float)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    def _call(self, name: str, **arguments: Any) -> Any:
        reply = getattr(self._client, name)(**arguments)
        with self._lock:  # the queries of a page run at the same time
            self.calls[name] += 1
            if name == "put_item":
                self._count_put(arguments, times=1)
            for part in arguments.get("TransactItems", ()):
                self._count_put(part.get("Put", {}), times=2)
            if name == "query":
                self.units["read"] += read_units(sum(map(item_bytes, reply["Items"])))
            for item in reply.get("Responses", {}).get("jobs", ()):
                self.units["read"] += read_units(item_bytes(item))
        return reply

    def _count_put(self, put: Mapping[str, Any], *, times: int) -> None:
        if put.get("TableName") != "jobs":
            return
        new = put["Item"]
        old = self._items.get(new["id"]["S"])
        self._items[new["id"]["S"]] = new
        self.units["write"] += times * write_units(old, new)
        self.units["index"] += index_units(old, new)
        self.units["whole"] += index_units(old, new, _WHOLE)


def measure(_rounds: int) -> Iterator[Note]:
    """Count everything once: it is the same in every round."""
    for prompt in PROMPTS:
        for life, write in LIVES.items():
            with tables() as (client, store):
                write(store, new_job(prompt))
                units = client.units
            text = f"{units['write']:.0f} of the table, {units['index']:.0f} of the indexes"
            whole = f" (with whole items: {units['whole']:.0f})"
            yield Note(f"write units, {prompt}, {life}", text + whole)
        yield Note(f"stored, {prompt}", _stored(next(ended_jobs(prompt, 1))))
    for prompt in PROMPTS:
        for limit in LIMITS:
            costs = read_page(list(ended_jobs(prompt, 2 * limit)), limit)
            yield Note(f"GET /jobs?limit={limit}, {prompt}", str(costs))
    for size in SIZES:
        costs = read_page(list(ended_jobs("1 KB", size)), LIMITS[0])
        yield Note(f"GET /jobs?limit={LIMITS[0]}, 1 KB, {size} jobs", str(costs))


@contextmanager
def tables() -> Iterator[tuple[MeteredDynamoDB, JobStore]]:
    """Make the tables on moto, with a client and a store of them."""
    with mock_aws():
        client: Any = boto3.client("dynamodb", "us-east-1")
        indexes = [
            {
                "IndexName": name,
                "KeySchema": _schema(index.partition_key, index.sort_key),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name, index in zip(_INDEX_NAMES, JOBS_INDEXES, strict=True)
        ]
        _create(client, "jobs", ["id"], indexes)
        _create(client, "usage", ["client_id", "day"], [])
        metered = MeteredDynamoDB(client)
        yield metered, JobStore(cast("Any", metered), "jobs", usage_table="usage")


def _create(client: Any, name: str, key: Sequence[str], indexes: Sequence[Any]) -> None:
    names = {*key, *(part["AttributeName"] for index in indexes for part in index["KeySchema"])}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=_schema(*key),
        AttributeDefinitions=[{"AttributeName": one, "AttributeType": "S"} for one in names],
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )


def _schema(*names: str) -> list[dict[str, str]]:
    kinds = ("HASH", "RANGE")
    return [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(names, kinds, strict=False)
    ]


def new_job(prompt: str, *, age: int = 0) -> Job:
    """Make a queued job that was created `age` seconds before NOW."""
    text, negative = (size * "x" for size in PROMPTS[prompt])
    created_at = NOW - timedelta(seconds=age)
    return Job(
        id=str(uuid4()),
        client_id=CLIENT,
        status=JobStatus.QUEUED,
        created_at=created_at,
        expires_at=created_at + timedelta(days=30),
        request=GenerateRequest(prompt=text, negative_prompt=negative or None),
        seeds=(1,),
        quote=_QUOTE,
    )


def ended_jobs(prompt: str, count: int) -> Iterator[Job]:
    """Make jobs that succeeded in their first attempt, newest first, one a second."""
    return (_succeeded(_started(new_job(prompt, age=age))) for age in range(count))


def _started(job: Job) -> Job:
    return job.start(now=job.created_at, seconds=60, quote=_QUOTE)


def _succeeded(job: Job) -> Job:
    charge = Charge(upstream="stability", outcome=ChargeOutcome.CHARGED, micros=_QUOTE.micros)
    image = ImageRecord(
        index=0,
        seed=1,
        upstream="stability",
        key=f"{job.folder}/0.png",
        content_type="image/png",
        width=1024,
        height=1024,
        bytes=1_500_000,
        sha256="0" * 64,
    )
    noted = job.note_images((image,), prediction_time_ms=3500.0, ignored=())
    return noted.charge([charge]).succeed(now=job.created_at + timedelta(seconds=4))


def _at_once(store: JobStore, job: Job) -> Job:
    return store.save(_succeeded(_stored_new(store, _started(job))))


def _queued(store: JobStore, job: Job) -> None:
    store.save(_succeeded(store.save(_started(_stored_new(store, job)))))


def _failed(store: JobStore, job: Job) -> None:
    error = UpstreamFailedError("The upstream has failed.")
    store.save(_stored_new(store, _started(job)).fail(error, now=NOW))


def _deleted(store: JobStore, job: Job) -> None:
    store.delete(_at_once(store, job), now=NOW)


def _stored_new(store: JobStore, job: Job) -> Job:
    stored = store.create(job)
    if stored is None:
        raise RuntimeError("a job's id was taken")
    return stored


LIVES: Final[Mapping[str, Callable[[JobStore, Job], object]]] = {
    "at once": _at_once,
    "queued": _queued,
    "failed": _failed,
    "at once, then deleted": _deleted,
}
"""From a job's admission on, all that is written to it."""


def _stored(job: Job) -> str:
    item = item_from(job)
    table = item_bytes(item) + STORED_BYTES
    entry = JOBS_INDEXES[0].projected(item)
    if entry is None:
        raise RuntimeError("the index has no such job")
    index = item_bytes(entry) + STORED_BYTES
    return f"{table} bytes in the table, {index} in the index (with whole items: {table})"


class PageCosts(NamedTuple):
    """What a page took: calls and read units, and what it would with whole items in the index."""

    queries: int
    batches: int
    units: float
    whole_queries: int
    whole_units: float

    def __str__(self) -> str:
        return (
            f"{self.queries} queries, {self.batches} batch, {self.units:g} read units"
            f" (with whole items: {self.whole_queries} queries, {self.whole_units:g})"
        )


def read_page(jobs: Sequence[Job], limit: int) -> PageCosts:
    """Store jobs, newest first, and read the first page of them."""
    with tables() as (client, store):
        _fill(client, jobs)
        found = store.page(CLIENT, status=None, limit=limit, after=None, now=NOW)
        calls, units = client.calls, client.units["read"]
    if [job.id for job in found.jobs] != [job.id for job in jobs[:limit]]:
        raise RuntimeError("these are not the newest jobs")
    whole = sum(item_bytes(item_from(job)) for job in found.jobs)
    return PageCosts(
        queries=calls["query"],
        batches=calls["batch_get_item"],
        units=units,
        whole_queries=math.ceil(whole / _QUERY_BYTES),
        whole_units=read_units(whole),
    )


def _fill(client: MeteredDynamoDB, jobs: Iterable[Job]) -> None:
    puts = [{"PutRequest": {"Item": item_from(job)}} for job in jobs]
    for start in range(0, len(puts), _BATCH):
        client.batch_write_item(RequestItems={"jobs": puts[start : start + _BATCH]})
