"""What a size of memory costs `generate` and `worker`: time, price and room for the worst images.

With its memory a function gets its part of a CPU, and it is paid for by both while it waits.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from benchmarks.cpu_quota import CPU_MB, NoQuotaError, cpu_quota
from benchmarks.init_images import INIT_IMAGES
from benchmarks.prices import GB_SECOND, UPSTREAM_SECONDS
from benchmarks.servers import SIDE
from benchmarks.sized_function import Done, Work
from benchmarks.stage import running, stage
from benchmarks.table import Note

SIZES_MB: Final = (512, 768, 1024, 1769)
REPEATS: Final = {1: 3, 4: 2, 16: 1}
"""Of each round, by the number of images: a short job is the more easily disturbed."""

S3_MS: Final = 30
TABLE_MS: Final = 5
QUEUE_MS: Final = 15
WARM_UP: Final = 2
MOST_IMAGES: Final = 16
UPSTREAMS: Final = ("octoai", "stability", "bedrock")
"""One call for all images; a call for each, with bytes; a call for each, with base64."""
JOBS_FOR_PEAK: Final = 3
"""Jobs one after another, since memory that is free again may not be usable again."""


class Function:
    """The process of a function, beside that of a `generate` that only queues jobs."""

    def __init__(self, do: Callable[[Work], Done], queue: Callable[[Work], Done] | None) -> None:
        self._do, self._queue = do, queue

    def do(self, images: int, *, has_upload: bool = False, response_format: str = "url") -> Done:
        """Do one new job and return what the function took for it."""
        work = Work(str(uuid.uuid4()), images, self._queue is not None, has_upload, response_format)
        if self._queue:
            self._queue(work)
        return self._do(work)


def measure(rounds: int) -> Iterator[Note]:
    """Print the table of sizes, and then the peaks of memory."""
    for function in ("generate", "worker"):
        yield Note(f"{function}: its own time at 1, 4 and 16 images", "peak; Lambda's price")
        with stage(s3_ms=S3_MS, table_ms=TABLE_MS, queue_ms=QUEUE_MS) as environ:
            try:
                yield from _sizes(function, environ, rounds)
            except NoQuotaError as error:
                yield Note(f"  {function}", f"not measured: {error}")
    yield from _worst_cases()


def _sizes(function: str, environ: Mapping[str, str], rounds: int) -> Iterator[Note]:
    """Time the sizes by turns, each in a process of its own."""
    with ExitStack() as stack:
        sized = {mb: stack.enter_context(_sized(function, environ, mb)) for mb in SIZES_MB}
        done: dict[tuple[int, int], list[Done]] = {}
        for images, repeats in REPEATS.items():
            turns = islice(cycle(SIZES_MB), len(SIZES_MB) * (WARM_UP + rounds * repeats))
            for mb in turns:
                done.setdefault((mb, images), []).append(sized[mb].do(images))
    for mb in SIZES_MB:
        own = {n: median(each.seconds for each in done[mb, n][WARM_UP:]) for n in REPEATS}
        times = " ".join(f"{1000 * seconds:6.0f} ms" for seconds in own.values())
        prices = " ".join(f"${_price(mb, seconds) / n:.4f}" for n, seconds in own.items())
        peak = max(each.peak for each in done[mb, MOST_IMAGES]) / 2**20
        yield Note(f"  {mb:4} MB, {mb / CPU_MB:.2f} CPU: {times}", f"{peak:.0f} MiB; {prices}")


def _price(memory_mb: int, own_seconds: float) -> float:
    """Compute the dollars of 1000 jobs: a function is paid while it works and while it waits."""
    return 1000 * (UPSTREAM_SECONDS + own_seconds) * memory_mb / 1024 * GB_SECOND


@contextmanager
def _sized(function: str, environ: Mapping[str, str], memory_mb: int) -> Iterator[Function]:
    with cpu_quota(memory_mb) as move, _started(function, environ, move) as started:
        yield started


@contextmanager
def _started(
    function: str, environ: Mapping[str, str], move: Callable[[int], None] = lambda _: None
) -> Iterator[Function]:
    with ExitStack() as stack:
        process, do = stack.enter_context(_process(function, environ))
        move(process)
        if function == "generate":
            yield Function(do, None)
        else:
            _, queue = stack.enter_context(_process("generate", environ))
            yield Function(do, queue)


@contextmanager
def _process(
    function: str, environ: Mapping[str, str]
) -> Iterator[tuple[int, Callable[[Work], Done]]]:
    """Start a function; yields its process's id and what makes it work."""
    with running(["-m", "benchmarks.sized_function", function], environ) as (works, lines):
        process = int(lines.readline())

        def do(work: Work) -> Done:
            print(json.dumps(work), file=works, flush=True)
            line = lines.readline()
            if not line:
                raise RuntimeError("the handler failed: see its traceback above")
            return Done(*json.loads(line))

        yield process, do


class WorstCase(NamedTuple):
    """Images that take much memory: those of the upstream, by rows of noise, and the client's."""

    name: str
    noisy_rows: int
    init_image: Callable[[], bytes] | None = None


NOISE: Final = WorstCase("images of noise, 3.1 MB each, also in the response", SIDE)


def _worst_cases() -> Iterator[Note]:
    """Measure the peak of a fresh process for a few jobs of 16 images, in each case."""
    cases = [NOISE] + [WorstCase(name, SIDE, make) for name, make in INIT_IMAGES.items()]
    with TemporaryDirectory() as folder:
        for case in cases:
            stored = Path(folder) / "init"
            stored.write_bytes(case.init_image() if case.init_image else b"")
            with stage(noisy_rows=case.noisy_rows, stored=stored) as environ:
                for function in ("generate", "worker"):
                    peaks = [f"{_peak(function, environ, case, up)} {up}" for up in UPSTREAMS]
                    yield Note(f"  peak, {function}, {case.name}", ", ".join(peaks))


def _peak(function: str, environ: Mapping[str, str], case: WorstCase, upstream: str) -> str:
    has_upload = case.init_image is not None
    with _started(function, {**environ, "UPSTREAM": upstream}) as started:
        for _ in range(JOBS_FOR_PEAK):
            done = started.do(MOST_IMAGES, has_upload=has_upload, response_format="b64_json")
    return f"{done.peak / 2**20:.0f} MiB"
