"""The rows of the table, and their format."""

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One measurement of both sides, in the same unit, within one run.

    `aim` is the largest ratio of ours to naive that is accepted; a row without an aim informs only.
    """

    name: str
    ours: float
    naive: float
    unit: str
    aim: float | None = None

    @property
    def ratio(self) -> float:
        """Return ours as a share of naive: less is better."""
        return self.ours / self.naive

    @property
    def verdict(self) -> str:
        """Return whether the aim was met; an empty text without an aim."""
        if self.aim is None:
            return ""
        return "met" if self.ratio <= self.aim else "missed"


class Note(NamedTuple):
    """A measurement of one side alone, or one that is no ratio."""

    name: str
    text: str


HEAD = f"{'':<50}{'ours':>10}{'naive':>10}{'':<4}{'ratio':>7}{'aim':>8}"


def line(row: Row | Note) -> str:
    """Format a row as a line with the columns of HEAD."""
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
