"""python -m benchmarks.cost_page FOLDER: write the tables of costs.md in that folder."""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import recorded
from benchmarks.costs import (
    HOURS,
    IMAGES,
    JOB_SECONDS,
    MESSAGES,
    RECEIVER_SECONDS,
    Row,
    delivery_rows,
    idle_rows,
    image_rows,
    option_rows,
    total,
    totals,
    waiting_rows,
)
from benchmarks.entrypoints import ENTRYPOINTS
from benchmarks.prices import DATE, PRICES
from sd3.http.webhook_receiver import SECONDS
from tools.docs.markdown import fill, table


def main(folder: Path) -> None:
    """Replace each table between its markers; the same record and prices give the same page."""
    page = folder / "costs.md"
    fill(page, "images", _images())
    fill(page, "idle", _idle())
    fill(page, "options", _table(["by option", "a month"], option_rows(), digits=2))
    waiting = ["how a client waits", f"{IMAGES} jobs of {JOB_SECONDS} s", f"{HOURS} hours"]
    fill(page, "waiting", _table(waiting, waiting_rows(), digits=2))
    fill(page, "webhooks", _webhooks())
    fill(page, "prices", _prices())


def _images() -> str:
    rows = image_rows()
    head = [f"{IMAGES} images, measured on {recorded.read().date}", *ENTRYPOINTS]
    return _table(head, [*rows, *totals(rows)], digits=4)


def _idle() -> str:
    rows = idle_rows()
    head = ["a month without jobs", "list price", "beyond what is free"]
    return _table(head, [*rows, total("**sum**", rows)], digits=2)


def _webhooks() -> str:
    rows = delivery_rows()
    head = [
        f"{MESSAGES:,} attempts, answered after",
        f"{RECEIVER_SECONDS} s with a 2xx",
        f"{RECEIVER_SECONDS} s with an error",
        f"{SECONDS:.0f} s with nothing",
    ]
    return _table(head, [*rows, total("**sum**", rows)], digits=2)


def _prices() -> str:
    rows = [
        [name, _exact(price.dollars), price.unit, _exact(price.free), price.source or "from memory"]
        for name, price in PRICES.items()
    ]
    head = ["price", "dollars", "for a", "free in a month", f"source, compared on {DATE}"]
    return table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Row], *, digits: int) -> str:
    return table(
        head, [[row.name, *(_money(each, digits) for each in row.dollars)] for row in rows]
    )


def _money(dollars: float, digits: int) -> str:
    return f"${dollars:.{digits}f}" if dollars else "0"


def _exact(number: float) -> str:
    return f"{number:.10f}".rstrip("0").rstrip(".") if number else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
