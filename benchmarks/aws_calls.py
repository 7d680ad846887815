"""AWS calls of a job by each entrypoint, and the price on AWS of 1000 jobs without the upstream."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import median
from typing import Final

from benchmarks.entrypoints import DELIVERY, ENTRYPOINTS, Step
from benchmarks.prices import UPSTREAM_IMAGE, calls_price, compute_price
from benchmarks.stage import running, stage
from benchmarks.table import Note

AIM: Final = 4
"""Calls until the response to a request, and one PUT for its image."""

PRICE_AIM: Final = 0.06
"""Dollars for 1000 images in the request, without the upstream, egress and storage."""

S3_MS: Final = 30
TABLE_MS: Final = 5
QUEUE_MS: Final = 15

OUTSIDE: Final = {
    "synchronous": {"apigateway Request": 1},
    "queued": {"apigateway Request": 2},  # the second reads the job
    "inbox": {"s3 PutObject": 1, "s3 GetObject": 1},  # the client's: file and result
}
"""Calls that the functions do not make, without those of the event source."""
WAITING: Final = {"synchronous": "generate", "queued": "worker", "inbox": "worker"}
"""The function that waits for the upstream."""
EVENT_SOURCE: Final = {"sqs ReceiveMessage": 1, "sqs DeleteMessage": 1}
"""Free of charge: Lambda's reads of the table's stream, and calls by EventBridge and S3."""


def measure(rounds: int) -> Iterator[Note]:
    """Count the calls by each entrypoint, with a check of the token, which the gateway caches."""
    found = trace_all(rounds)
    delivered = found.pop(DELIVERY)
    for entrypoint, traces in found.items():
        yield from _notes(entrypoint, traces)
    yield Note("AWS calls of a delivery", "of a client with a webhook")
    for step in delivered[-1]:
        yield Note(f"  {step.function}", _listed(step.calls))


def trace_all(
    rounds: int, *, s3_ms: int = S3_MS, table_ms: int = TABLE_MS, queue_ms: int = QUEUE_MS
) -> dict[str, list[list[Step]]]:
    """Run jobs by each entrypoint, and deliveries; raises RuntimeError when a function fails."""
    names = (*ENTRYPOINTS, DELIVERY)
    command = ["-m", "benchmarks.entrypoints", str(1 + rounds), *names]
    with (
        stage(s3_ms=s3_ms, table_ms=table_ms, queue_ms=queue_ms) as environ,
        running(command, environ) as (_, lines),
    ):
        traces = iter([[Step(*step) for step in json.loads(line)] for line in lines])
    # The first job of each reads what is kept afterwards, such as the upstream's secret.
    found = {name: [*islice(traces, 1 + rounds)][1:] for name in names}
    if any(len(each) != rounds for each in found.values()):
        raise RuntimeError("a function failed: see its traceback above")
    return found


def _notes(entrypoint: str, traces: Sequence[Sequence[Step]]) -> Iterator[Note]:
    steps = traces[-1]
    own = sum(median(trace[at].seconds for trace in traces) for at in range(len(steps)))
    first = Counter(steps[0].calls)
    puts = first.pop("s3 PutObject", 0) if entrypoint == "synchronous" else 0
    met = "met" if first.total() <= AIM else "missed"
    in_time = f"{first.total()} calls + {puts} PUT" if puts else f"{first.total()} calls"
    verdict = f"; aim <= {AIM} + 1 PUT: {met}" if entrypoint == "synchronous" else ""
    yield Note(f"AWS calls, {entrypoint}, until the response", in_time + verdict)
    for step in steps:
        yield Note(f"  {step.function}", _listed(step.calls))
    yield Note(f"  1000 images by {entrypoint}", _price(entrypoint, steps, own))


def _price(entrypoint: str, steps: Sequence[Step], own: float) -> str:
    calls = (
        Counter(OUTSIDE[entrypoint])
        + Counter(EVENT_SOURCE)
        + Counter({"lambda Invoke": len(steps)})
    )
    units: Counter[str] = Counter()
    for step in steps:
        calls.update(step.calls)
        units.update(step.units)
    called = 1000 * calls_price(calls, units)
    computed = 1000 * compute_price(own, waiting=WAITING[entrypoint])
    upstream = 1000 * UPSTREAM_IMAGE
    share = 100 * (called + computed) / upstream
    met = "met" if called + computed <= PRICE_AIM else "missed"
    verdict = f"; aim <= ${PRICE_AIM:.2f}: {met}" if entrypoint == "synchronous" else ""
    return (
        f"${called + computed:.3f} (calls {called:.3f}, Lambda {computed:.3f}),"
        f" {share:.1f} % of the upstream's ${upstream:.0f}{verdict}"
    )


def _listed(calls: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
