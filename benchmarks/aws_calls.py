"""AWS calls of a job by each door, and what AWS asks for 1000 of them beside the upstream."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from benchmarks.doors import DOORS, Step
from benchmarks.prices import UPSTREAM_IMAGE, calls_price, compute_price
from benchmarks.stage import running, stage
from benchmarks.table import Note

AIM: Final = 4
"""Calls until a request is answered, and one PUT for its image."""

LATENCIES_MS: Final = {"s3_ms": 30, "table_ms": 5}

OUTSIDE: Final = {
    "synchronous": {"apigateway Request": 1},
    "queued": {"apigateway Request": 2},  # the second asks how it went
    "inbox": {"s3 PutObject": 1, "s3 GetObject": 1},  # the client's: file and answer
}
"""Calls that are not the functions' own, beside those of the event source."""
EVENT_SOURCE: Final = {"sqs ReceiveMessage": 1, "sqs DeleteMessage": 1}
"""Lambda reads the table's stream for nothing; EventBridge and S3 call it for nothing."""


def measure(rounds: int) -> Iterator[Note]:
    """Walk through each door; a client's token is cached by the gateway and left out."""
    for door in DOORS:
        with (
            stage(**LATENCIES_MS) as environ,
            running(["-m", "benchmarks.doors", door, str(1 + rounds)], environ) as (_, answers),
        ):
            walks = [[Step(*step) for step in json.loads(line)] for line in answers]
        if len(walks) != 1 + rounds:
            raise RuntimeError("a function failed: see its traceback above")
        yield from _notes(door, walks[1:])  # the first one reads the upstream's secret


def _notes(door: str, walks: Sequence[Sequence[Step]]) -> Iterator[Note]:
    steps = walks[-1]
    own = sum(median(walk[at].seconds for walk in walks) for at in range(len(steps)))
    first = Counter(steps[0].calls)
    puts = first.pop("s3 PutObject", 0) if door == "synchronous" else 0
    met = "met" if first.total() <= AIM else "missed"
    in_time = f"{first.total()} calls + {puts} PUT" if puts else f"{first.total()} calls"
    verdict = f"; aim <= {AIM} + 1 PUT: {met}" if door == "synchronous" else ""
    yield Note(f"AWS calls, {door} door, until it answers", in_time + verdict)
    for step in steps:
        yield Note(f"  {step.function}", _listed(step.calls))
    yield Note(f"  1000 images, {door} door", _price(door, steps, own))


def _price(door: str, steps: Sequence[Step], own: float) -> str:
    calls = Counter(OUTSIDE[door]) + Counter(EVENT_SOURCE) + Counter({"lambda Invoke": len(steps)})
    units: Counter[str] = Counter()
    for step in steps:
        calls.update(step.calls)
        units.update(step.units)
    called = 1000 * calls_price(calls, units)
    computed = 1000 * compute_price(own, waits=True)
    upstream = 1000 * UPSTREAM_IMAGE
    share = 100 * (called + computed) / upstream
    return (
        f"${called + computed:.2f} (calls {called:.2f}, Lambda {computed:.2f}),"
        f" {share:.1f} % of the upstream's ${upstream:.0f}"
    )


def _listed(calls: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
