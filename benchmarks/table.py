"""A row of the table, and how the table looks."""

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One thing that was measured on both sides, in the same unit, within one run.

    `aim` is the largest ratio of ours to naive that is good enough; None: for information only.
    """

    name: str
    ours: float
    naive: float
    unit: str
    aim: float | None = None

    @property
    def ratio(self) -> float:
        """Ours as a share of naive: less is better."""
        return self.ours / self.naive

    @property
    def verdict(self) -> str:
        """Whether the aim was met; empty where there is none."""
        if self.aim is None:
            return ""
        return "met" if self.ratio <= self.aim else "missed"


class Note(NamedTuple):
    """What was found of one side alone, or cannot be a ratio."""

    name: str
    text: str


HEAD = f"{'':<50}{'ours':>10}{'naive':>10}{'':<4}{'ratio':>7}{'aim':>8}"


def line(row: Row | Note) -> str:
    """Write a row as a line that fits under HEAD."""
    if isinstance(row, Note):
        return f"{row.name:<50}    {row.text}".rstrip()
    aim = "" if row.aim is None else f"<= {row.aim:.2f}"
    figures = f"{row.ours:>10.1f}{row.naive:>10.1f} {row.unit:<3}{row.ratio:>7.2f}{aim:>8}"
    return f"{row.name:<50}{figures}  {row.verdict}".rstrip()


def write(rows: Iterable[Row | Note]) -> None:
    """Print the table, each row as soon as it is known."""
    print(HEAD, flush=True)
    for row in rows:
        print(line(row), flush=True)
