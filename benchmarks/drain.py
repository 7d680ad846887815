"""A queue of jobs that many workers drain, in virtual time."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final
from unittest.mock import patch

from benchmarks.rate_limit_item import RateLimitItem
from benchmarks.vendor import Vendor, VendorUpstream
from benchmarks.virtual_time import Pool, VirtualTime
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.upstreams import dispatch as calls

EPOCH: Final = datetime(2026, 11, 23, tzinfo=UTC)
"""When virtual time begins."""

Work = Callable[[str, int], int | None]
"""One worker. It takes a job's id and its receive count, and returns the seconds until the message
is visible again, or None when the job is done."""


@dataclass
class World:
    """The state that the workers share."""

    vendor: Vendor
    random: Random
    time: VirtualTime = field(default_factory=VirtualTime)
    limiter: RateLimitItem = field(default_factory=RateLimitItem)
    jobs: dict[str, Job] = field(default_factory=dict)
    receives: int = 0
    """How often a message was received from the queue."""
    _messages: list[tuple[float, int, int]] = field(default_factory=list)
    """For each: when it is visible, the number of its job, and its receive count."""

    @property
    def upstream(self) -> VendorUpstream:
        """Return the vendor as an upstream."""
        return VendorUpstream(self.vendor, self.time, self.random)

    def put(self, images: int) -> None:
        """Queue a job of `images` images."""
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
        """Run a worker until no message is left.

        It waits for the message that is visible next, often the one that it put back itself.
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
    """Drain jobs of the given numbers of images, and return the state at the end."""
    world = World(Vendor(is_harsh=is_harsh), Random(seed))  # noqa: S311 - nothing secret
    for images in jobs:
        world.put(images)
    for _ in range(workers):
        world.time.start(partial(world.serve, make_work(world)))
    with patch.object(calls, "ThreadPoolExecutor", partial(Pool, world.time)):
        world.time.run()
    return world
