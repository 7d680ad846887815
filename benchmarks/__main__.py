"""`python -m benchmarks`: print the table of ours against naive; `--quick` for fewer rounds."""

import argparse
from collections.abc import Callable, Iterator, Sequence

from benchmarks import (
    aws_calls,
    burst,
    cold_import,
    cold_start,
    costs,
    fleet,
    gate,
    memory,
    own_time,
    peak_memory,
    provenance,
    queued_time,
    recorded,
    soak,
    table_costs,
    walk,
)
from benchmarks.table import Note, Row, write

ROUNDS = 9
QUICK_ROUNDS = 3

MEASURES: dict[str, Callable[[int], Iterator[Row | Note]]] = {
    "own_time": own_time.measure,
    "openai": own_time.measure_openai,
    "cold_import": cold_import.measure,
    "cold_start": cold_start.measure,
    "peak_memory": peak_memory.measure,
    "memory": memory.measure,
    "provenance": provenance.measure,
    "aws_calls": aws_calls.measure,
    "record": recorded.measure,
    "cost": costs.measure,
    "fleet": fleet.measure,
    "gate": gate.measure,
    "burst": burst.measure,
    "soak": soak.measure,
    "table_costs": table_costs.measure,
    "walk": walk.measure,
    "queued_time": queued_time.measure,
}
BY_NAME = frozenset(("queued_time", "burst", "soak", "cold_start", "memory", "record"))
"""Measurements that run only when they are named: they start the whole service, take minutes, or
write a file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named measurements, by default all but BY_NAME, and print their rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--quick", action="store_true", help="few rounds: rough figures, soon")
    options = parser.parse_args(arguments)
    if unknown := set(options.measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    names = options.measures or [name for name in MEASURES if name not in BY_NAME]
    write(row for name in names for row in MEASURES[name](rounds))


if __name__ == "__main__":
    main()
