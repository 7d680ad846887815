"""A fleet of workers that drains jobs against an upstream's limit, in virtual time."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast
from unittest.mock import patch

from benchmarks.gate_item import GateItem
from benchmarks.table import Note, Row
from benchmarks.vendor import RATE, Vendor, VendorUpstream
from benchmarks.virtual_time import Pool, VirtualTime
from sd3.contract import GenerateRequest
from sd3.errors import UpstreamThrottledError
from sd3.gate_table import GateTable
from sd3.models import DrawnPicture, ImageRecord, Job, JobStatus
from sd3.pacing import SharedGate
from sd3.ports import Images, Jobs, Time
from sd3.settings import UpstreamSettings
from sd3.turns import Bounds
from sd3.upstreams import calls
from sd3.upstreams.calls import PacedUpstream
from sd3.upstreams.fallback import Fallback
from sd3.worker import Worker

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EPOCH: Final = datetime(2026, 11, 23, tzinfo=UTC)
SKEW_SECONDS: Final = 0.005
"""By how much a worker's clock is wrong, at the most."""
TABLE_SECONDS: Final = (0.001, 0.004)
"""To the table, and back."""
WORKER_SECONDS: Final = 300


@dataclass
class World:
    """What a fleet has in common."""

    seed: int

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.time = VirtualTime()
        self.vendor = Vendor()
        self.gate = GateItem()
        self.upstream = VendorUpstream(self.vendor, self.time, self.random)
        self.messages: list[tuple[float, int, int]] = []
        self.jobs: dict[str, Job] = {}

    def table_update(self, **arguments: Any) -> dict[str, Any]:
        self.time.sleep(self.random.uniform(*TABLE_SECONDS))
        try:
            return self.gate.update_item(**arguments)
        finally:
            self.time.sleep(self.random.uniform(*TABLE_SECONDS))


class _Client:
    def __init__(self, world: World) -> None:
        self.update_item = world.table_update


class _Jobs:
    """What a worker uses of the jobs table."""

    def __init__(self, items: dict[str, Job]) -> None:
        self.items = items

    def get(self, job_id: str, *, now: datetime) -> Job:
        return self.items[job_id]

    def claim(self, job: Job, *, now: datetime) -> None:
        self.items[job.id] = job

    def save(self, job: Job) -> None:
        self.items[job.id] = job

    def stop(self, job: Job, *, was: JobStatus | None = None) -> None:
        self.items[job.id] = job


class _Images:
    def put_all(self, folder: str, drawn: Sequence[DrawnPicture]) -> tuple[ImageRecord, ...]:
        return tuple(
            ImageRecord(index=i, seed=one.seed, upstream=one.upstream, error=one.error,
                        removed_for_safety=False, safety_score=None, key=f"{folder}/{i}" if one.picture else None)
            for i, one in enumerate(drawn)
        )


def our_worker(world: World) -> Callable[[str, int], int | None]:
    skew = world.random.uniform(-SKEW_SECONDS, SKEW_SECONDS)
    jitter = world.random.random
    time = Time(
        now=lambda: EPOCH + timedelta(seconds=world.time.now + skew),
        monotonic=lambda: world.time.now,
        sleep=world.time.sleep,
        jitter=jitter,
    )
    table = GateTable(cast("DynamoDBClient", _Client(world)), "upstreams", "vendor")
    bounds = Bounds(rate=RATE, pause_seconds=world.upstream.pause_seconds)
    member = PacedUpstream(
        settings=UpstreamSettings(name="vendor"),
        make=lambda: world.upstream,
        make_gate=lambda _: SharedGate(table, bounds=bounds, clock=lambda: time.now().timestamp()),
        clock=time.monotonic, sleep=time.sleep, jitter=jitter,
    )
    worker = Worker(
        jobs=cast("Jobs", _Jobs(world.jobs)), images=cast("Images", _Images()),
        upstreams=Fallback(make_members=lambda: [member]), time=time, max_queue=timedelta(hours=6),
    )
    return lambda job_id, receives: worker.work(job_id, seconds=WORKER_SECONDS, sent_at=EPOCH, receives=receives)


def naive_worker(world: World) -> Callable[[str, int], int | None]:
    def call(seed: int) -> None:
        failed = 0
        while True:
            try:
                world.upstream.draw(world.jobs_request, seeds=[seed], init_image=None, deadline=0)
                return
            except UpstreamThrottledError:
                world.time.sleep(world.random.random() * min(60, 2**failed))
                failed += 1

    def work(job_id: str, _receives: int) -> None:
        world.time.gather([partial(call, seed) for seed in world.jobs[job_id].seeds])

    return work


def drain(seed: int, make: Callable[[World], Any], *, workers: int, sizes: Sequence[int]) -> World:
    world = World(seed)
    world.receives = 0
    for n, size in enumerate(sizes):
        request = GenerateRequest(prompt="a fox", num_images=size)
        world.jobs_request = request
        job = Job(id=str(n), client_id="bench", status=JobStatus.QUEUED, created_at=EPOCH,
                  expires_at=EPOCH + timedelta(days=30), request=request, seeds=tuple(range(1, size + 1)))
        world.jobs[job.id] = job
        world.messages.append((0.0, n, 0))

    def serve(work: Callable[[str, int], int | None]) -> None:
        while world.messages:
            at, n, receives = heapq.heappop(world.messages)
            if at > world.time.now:
                world.time.sleep(at - world.time.now)
            world.receives += 1
            wait = work(str(n), receives + 1)
            if wait is not None:
                heapq.heappush(world.messages, (world.time.now + wait, n, receives + 1))

    for _ in range(workers):
        world.time.start(partial(serve, make(world)))
    with patch.object(calls, "ThreadPoolExecutor", lambda *_, **__: Pool(world.time)):
        world.time.run(until=1800)
    return world


if __name__ == "__main__":
    import sys, time
    from collections import Counter
    for workers in (20, 100, 400):
        for kind in ("ones", "mix"):
            r = Random(7)
            sizes = [1] * 1000 if kind == "ones" else [r.randint(1, 16) for _ in range(1000)]
            for side in (our_worker,) if "-o" in sys.argv else (our_worker, naive_worker):
                t = time.time()
                w = drain(1, side, workers=workers, sizes=sizes)
                v = w.vendor
                used = v.drawn / (RATE.calls / RATE.seconds * (v.last_at - v.first_at))
                lost = sum(1 for j in w.jobs.values() for i in j.images if i.error)
                st = Counter(str(j.status) for j in w.jobs.values())
                print(f"{workers} {kind} {side.__name__}: used {used:.3f} refused {v.refused}/{v.drawn+v.refused} end {w.time.now:.0f} last {v.last_at:.0f} writes/call {w.gate.writes/sum(sizes):.2f} receives {w.receives} lost {lost} of {sum(sizes)} {dict(st)} real {time.time()-t:.1f}", flush=True)
