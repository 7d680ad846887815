"""What one image makes AWS do by each entrypoint, as it was measured: the base of docs/costs.md."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.aws_calls import trace_all
from benchmarks.entrypoints import Step
from benchmarks.table import Note

FILE: Final = Path(__file__).with_name("recorded.json")


class Recorded(NamedTuple):
    """The day of the measurement, and the functions that ran for one image, by entrypoint."""

    date: str
    steps: Mapping[str, Sequence[Step]]


def measure(rounds: int) -> Iterator[Note]:
    """Measure all entrypoints and write the file. Run `make docs` afterwards."""
    steps = {name: _median(traces) for name, traces in trace_all(rounds).items()}
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    content = {
        "date": date,
        "steps": {name: [each._asdict() for each in run] for name, run in steps.items()},
    }
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    for name, run in steps.items():
        own = 1000 * sum(each.seconds for each in run)
        yield Note(f"recorded, {name}", f"{len(run)} runs of functions, {own:.0f} ms of their own")


def read() -> Recorded:
    """Read what was measured last."""
    content = json.loads(FILE.read_text())
    steps = {name: [Step(**each) for each in run] for name, run in content["steps"].items()}
    return Recorded(content["date"], steps)


def _median(traces: Sequence[Sequence[Step]]) -> list[Step]:
    """Return the last trace with the median of the times, to a tenth of a millisecond."""
    return [
        step._replace(seconds=round(median(trace[at].seconds for trace in traces), 4))
        for at, step in enumerate(traces[-1])
    ]
