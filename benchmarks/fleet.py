"""A fleet of workers that drains a backlog against an upstream's limit, simulated."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from benchmarks.drain import World, drain
from benchmarks.drain_sides import naive_work, our_work
from benchmarks.table import Note, Row
from benchmarks.vendor import BLOCK_SECONDS, RATE
from sd3.domain.job import JobStatus

USED_AIM: Final = 0.95
THROTTLED_AIM: Final = 0.01
IMAGES: Final = 1000
ONE: Final = "1 image"
MIXED: Final = "1 to 16"
FLEETS: Final = ((20, MIXED), (100, ONE), (100, MIXED), (400, ONE), (400, MIXED))
"""Workers and their jobs. 20 workers with one call of 3 s at a time cannot use up the limit."""
SEEDS: Final = (1, 2, 3)
"""One run of ours for each seed, of which the worst counts. Naive runs with the first seed only."""


def measure(_rounds: int) -> Iterator[Row | Note]:
    """Drain 1000 images by fleets of some sizes.

    Ours meets a harsh vendor, which counts the calls that it throttles; naive one that does not, or
    it would hardly ever end. Raises RuntimeError when an image of ours was not generated.
    """
    limit = f"{RATE.calls} calls in {RATE.seconds} s, {BLOCK_SECONDS} s out after an excess"
    yield Note(f"a fleet generates {IMAGES} images, virtual time", limit)
    for workers, kind in FLEETS:
        jobs = jobs_of(kind)
        ours = [drain(our_work, jobs, workers=workers, is_harsh=True, seed=one) for one in SEEDS]
        naive = drain(naive_work, jobs, workers=workers, is_harsh=False, seed=SEEDS[0])
        if not all(map(_is_complete, ours)):
            raise RuntimeError("a job of ours ended without all of its images")
        yield from _rows(f"{workers} workers, jobs of {kind}", ours, naive)


def jobs_of(kind: str) -> tuple[int, ...]:
    """Choose the number of images of each job, 1000 in all."""
    if kind == ONE:
        return (1,) * IMAGES
    random, jobs = Random(0), [0]  # noqa: S311 - nothing secret
    while (left := IMAGES - sum(jobs)) > 0:
        jobs.append(min(left, random.randint(1, 16)))
    return tuple(jobs[1:])


def _rows(name: str, ours: Sequence[World], naive: World) -> Iterator[Row | Note]:
    seconds = max(world.time.now for world in ours)
    yield Row(f"{name}, until all is generated", seconds, naive.time.now, "s")
    used = min(world.vendor.share_used for world in ours)
    met = "met" if used >= USED_AIM else "missed"
    text = f"{used:.1%}, naive {naive.vendor.share_used:.1%}; aim >= {USED_AIM:.0%}: {met}"
    yield Note("  of the limit used", text)
    throttled = max(world.vendor.share_throttled for world in ours)
    met = "met" if throttled <= THROTTLED_AIM else "missed"
    theirs = naive.vendor.share_throttled
    text = f"{throttled:.1%}, naive {theirs:.1%}; aim <= {THROTTLED_AIM:.0%}: {met}"
    yield Note("  of all calls throttled", text)
    writes = max(world.limiter.writes for world in ours) / IMAGES
    receives = max(world.receives / len(world.jobs) for world in ours)
    text = f"{writes:.2f} for each call; {receives:.1f} messages for each job"
    yield Note("  writes to the limiters' table", text)


def _is_complete(world: World) -> bool:
    return all(
        job.status is JobStatus.SUCCEEDED
        and len(job.images) == job.request.num_images
        and all(record.key for record in job.images)
        for job in world.jobs.values()
    )
