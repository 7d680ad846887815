"""Cold starts as Lambda has them: an import with a whole CPU, a first request with a part of one.

Lambda gives a function a whole CPU while it is imported. Its requests get the part of one that
belongs to its memory. So each process here is moved into a quota after its import.
"""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Final, NamedTuple

from benchmarks.cpu_quota import CPU_MB, Move, NoQuotaError, cpu_quota
from benchmarks.prices import MEMORY_MB
from benchmarks.stage import running, stage
from benchmarks.table import Note

AIM: Final = 0.7
"""Of the sum of both without what the init phase prepares."""

FUNCTIONS: Final = ("generate", "jobs", "authorizer")


class Start(NamedTuple):
    """The seconds of a cold start: those of the import, and those of the first request."""

    init: float
    first: float

    @property
    def total(self) -> float:
        """Return the seconds of both."""
        return self.init + self.first


class Way(NamedTuple):
    """A way to start: whether the init phase prepares, and when certificates are read."""

    name: str
    prepares: bool
    certificates: str


WAYS: Final = (
    Way("clients at their first use, certificates for each connection", False, "each"),
    Way("clients at their first use, certificates once", False, "once"),
    Way("clients in the init phase, certificates once", True, "once"),
)
"""As it was before, and as it is now with one change after the other."""


def measure(rounds: int) -> Iterator[Note]:
    """Start each function in each way by turns; medians, with AWS over TLS."""
    with stage(tls=True) as environ:
        for function in FUNCTIONS:
            memory = MEMORY_MB[function]
            name = f"cold start, {function}, {memory / CPU_MB:.2f} CPU"
            try:
                with cpu_quota(memory) as move:
                    yield from _notes(name, _starts(function, environ, rounds, move))
            except NoQuotaError as error:
                yield Note(name, f"not measured: {error}")


def _starts(function: str, environ: Mapping[str, str], rounds: int, move: Move) -> dict[str, Start]:
    seen: dict[str, list[Start]] = {way.name: [] for way in WAYS}
    for _ in range(1 + rounds):  # the first round fills the bytecode cache and is not counted
        for way in WAYS:
            seen[way.name].append(_start(function, environ, way, move))
    return {
        name: Start(median(s.init for s in starts[1:]), median(s.first for s in starts[1:]))
        for name, starts in seen.items()
    }


def _start(function: str, environ: Mapping[str, str], way: Way, move: Move) -> Start:
    environ = dict(environ)
    if not way.prepares:
        del environ["AWS_LAMBDA_FUNCTION_NAME"]
    arguments = ["-m", "benchmarks.first_request", function, way.certificates]
    with running(arguments, environ) as (requests, lines):
        process, init = lines.readline().split()
        move(int(process))
        print(file=requests, flush=True)
        return Start(float(init), float(lines.readline()))


def _notes(name: str, starts: Mapping[str, Start]) -> Iterator[Note]:
    before, *_, after = starts.values()
    ratio = after.total / before.total
    met = "met" if ratio <= AIM else "missed"
    yield Note(name, f"{ratio:.2f} of before; aim <= {AIM:.2f}: {met}")
    for way, start in starts.items():
        init, first, total = (1000 * seconds for seconds in (*start, start.total))
        yield Note(f"  {total:6.0f} ms = {init:.0f} init + {first:.0f} first request", way)
