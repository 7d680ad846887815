"""A queue of jobs that many workers drain, in virtual time."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final
from unittest.mock import patch

from benchmarks.gate_item import GateItem
from benchmarks.vendor import Vendor, VendorUpstream
from benchmarks.virtual_time import Pool, VirtualTime
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.upstreams import dispatch as calls

EPOCH: Final = datetime(2026, 11, 23, tzinfo=UTC)
"""When virtual time begins."""

Work = Callable[[str, int], int | None]
"""One worker: from a job's id, and how often its message came, to the seconds until it is to come
again; None when the job is done."""


@dataclass
class World:
    """What the workers have in common."""

    vendor: Vendor
    random: Random
    time: VirtualTime = field(default_factory=VirtualTime)
    limiter: GateItem = field(default_factory=GateItem)
    jobs: dict[str, Job] = field(default_factory=dict)
    receives: int = 0
    """How often a message was taken from the queue."""
    _messages: list[tuple[float, int, int]] = field(default_factory=list)
    """From when on each can be seen, the number of its job, and how often it came."""

    @property
    def upstream(self) -> VendorUpstream:
        """The vendor, as each worker calls it."""
        return VendorUpstream(self.vendor, self.time, self.random)

    def put(self, images: int) -> None:
        """Have a job of so many images wait."""
        number = len(self.jobs)
        self.jobs[str(number)] = Job(
            id=str(number),
            client_id="bench",
            status=JobStatus.QUEUED,
            created_at=EPOCH,
            expires_at=EPOCH + timedelta(days=30),
            request=GenerateRequest(prompt="a lighthouse", num_images=images),
            seeds=tuple(range(1, images + 1)),
        )
        heapq.heappush(self._messages, (0.0, number, 0))

    def serve(self, work: Work) -> None:
        """Be a worker until no message is left.

        The first message that will be seen is waited for: whoever puts one back takes it himself.
        """
        while self._messages:
            at, number, receives = heapq.heappop(self._messages)
            self.time.sleep(max(0.0, at - self.time.now))
            self.receives += 1
            wait = work(str(number), receives + 1)
            if wait is not None:
                heapq.heappush(self._messages, (self.time.now + wait, number, receives + 1))


def drain(
    make_work: Callable[[World], Work],
    jobs: Sequence[int],
    *,
    workers: int,
    is_harsh: bool,
    seed: int,
) -> World:
    """Drain jobs, each of so many images, and return what the world is like then."""
    world = World(Vendor(is_harsh=is_harsh), Random(seed))  # noqa: S311 - nothing secret
    for images in jobs:
        world.put(images)
    for _ in range(workers):
        world.time.start(partial(world.serve, make_work(world)))
    with patch.object(calls, "ThreadPoolExecutor", lambda *_, **__: Pool(world.time)):
        world.time.run()
    return world
