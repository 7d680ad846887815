"""Own time of a warm request: all but the fetch of the images, which nobody can save."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import cycle, islice, permutations
from statistics import median
from typing import NamedTuple

from benchmarks.stage import Side, side, stage
from benchmarks.table import Row

REPEATS = {1: 3, 4: 2, 16: 1}
"""Of each round: a short request is the more easily disturbed, and costs less to repeat."""


class Latencies(NamedTuple):
    """How long each call to AWS takes in milliseconds, and the aims by the number of images."""

    s3: int
    table: int
    queue: int
    aims: Mapping[int, float]


LATENCIES = (
    Latencies(0, 0, 0, {1: 0.62, 16: 0.32}),
    Latencies(30, 0, 0, {1: 1.0, 16: 0.5}),
    Latencies(30, 30, 30, {1: 2.2, 16: 0.25}),
    Latencies(40, 5, 15, {1: 1.5}),
)
"""None shows what the processor does; 30 ms is what a PUT of 1.5 MB to S3 takes in its region. The
last is nearest to AWS. Naive stores no job and calls S3 only."""

NAMES = ("ours", "naive", "floor")
OPENAI_AIM = 1.1
WARM_UP = 2


def measure(rounds: int) -> Iterator[Row]:
    """Time ours and naive alternately, at 1, 4 and 16 images of 1.5 MB."""
    for s3_ms, table_ms, queue_ms, aims in LATENCIES:
        with ExitStack() as stack:
            environ = stack.enter_context(stage(s3_ms=s3_ms, table_ms=table_ms, queue_ms=queue_ms))
            sides = {name: stack.enter_context(side(name, environ)) for name in NAMES}
            for images, repeats in REPEATS.items():
                times = _times(sides, images, rounds * repeats)
                ours, naive, floor = (1000 * times[name] for name in NAMES)
                what = f"{images:2} x 1.5 MB, S3/DynamoDB/SQS {s3_ms}/{table_ms}/{queue_ms} ms"
                yield Row(f"own time, {what}", ours - floor, naive - floor, "ms", aims.get(images))
                yield Row(f"  in all, with the fetch ({floor:.1f} ms)", ours, naive, "ms")


def measure_openai(rounds: int) -> Iterator[Row]:
    """Time a request of OpenAI's Images API beside the same of our own, at 1 image as a link."""
    for s3_ms, table_ms, queue_ms, _ in (LATENCIES[0], LATENCIES[-1]):
        with ExitStack() as stack:
            environ = stack.enter_context(stage(s3_ms=s3_ms, table_ms=table_ms, queue_ms=queue_ms))
            names = ("openai", "ours", "floor")
            sides = {name: stack.enter_context(side(name, environ)) for name in names}
            times = _times(sides, 1, rounds * REPEATS[1])
            openai, ours, floor = (1000 * times[name] for name in names)
            what = f"1 x 1.5 MB, S3/DynamoDB/SQS {s3_ms}/{table_ms}/{queue_ms} ms"
            yield Row(
                f"own time of OpenAI's API, {what}", openai - floor, ours - floor, "ms", OPENAI_AIM
            )


def _times(sides: Mapping[str, Side], images: int, rounds: int) -> dict[str, float]:
    """Seconds of a request on each side: the median of rounds in which each side takes its turn.

    The order changes from round to round: who comes next finds caches as the last one left them,
    which alone is worth a tenth.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    orders = cycle(permutations(sides))
    for order in islice(orders, WARM_UP + rounds):
        for name in order:
            taken[name].append(sides[name].handle(images).seconds)
    return {name: median(seconds[WARM_UP:]) for name, seconds in taken.items()}
