"""Own time of a warm request: all but the fetch of the images, which nobody can save."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import cycle, islice, permutations
from statistics import median

from benchmarks.stage import Side, side, stage
from benchmarks.table import Row

AIMS = {1: 1.0, 4: None, 16: 0.5}
REPEATS = {1: 3, 4: 2, 16: 1}
"""Of each round: a short request is the more easily disturbed, and costs less to repeat."""

LATENCIES_MS = ((0, 0), (30, 0), (30, 30))
"""Of S3 and of DynamoDB, for each call. None shows what the processor does; 30 ms is what a PUT of
1.5 MB to S3 takes in its region. DynamoDB responds in a few ms: the last pair is for information,
since naive stores no job and makes no such call."""

NAMES = ("ours", "naive", "floor")
WARM_UP = 2


def measure(rounds: int) -> Iterator[Row]:
    """Time ours and naive alternately, at 1, 4 and 16 images of 1.5 MB."""
    for s3_ms, table_ms in LATENCIES_MS:
        with ExitStack() as stack:
            environ = stack.enter_context(stage(s3_ms=s3_ms, table_ms=table_ms))
            sides = {name: stack.enter_context(side(name, environ)) for name in NAMES}
            for images, aim in AIMS.items():
                times = _times(sides, images, rounds * REPEATS[images])
                ours, naive, floor = (1000 * times[name] for name in NAMES)
                what = f"{images:2} x 1.5 MB, S3 {s3_ms:2} ms, DynamoDB {table_ms:2} ms"
                own_aim = None if table_ms else aim
                yield Row(f"own time, {what}", ours - floor, naive - floor, "ms", own_aim)
                yield Row(f"  in all, with the fetch ({floor:.1f} ms)", ours, naive, "ms")


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
