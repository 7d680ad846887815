"""The circuit breakers of an upstream: whom they stop, and which failures are evidence.

One breaker is for everybody, and each client has one. So a client whose jobs always fail stops
itself and nobody else. Evidence is a set of jobs that have failed since the last success. A
client's own breaker opens at FAILURES of its jobs. Everybody's opens at FAILURES too, but of one
client CLIENT_WEIGHT jobs count at most. A job that an upstream was called for before is no
evidence: it would say the same thing again and again. Nor is the first failure of a process after
a success: where many processes call at once, some calls always fail, and one process does not see
the success of another. When the next call of that process fails too, that one is evidence. When it
succeeds, all evidence is removed. So where one call of a hundred fails, the chance that five jobs
are evidence before one such success is 1 in 10 billion.
"""

import hashlib
from collections import Counter
from collections.abc import Collection
from typing import Final, NamedTuple

from sd3.domain.generation import TaskOrigin

FAILURES: Final = 5
"""Failed jobs, without a success in between, that open a breaker."""

CLIENT_WEIGHT: Final = 2
"""The most failed jobs of one client that count for everybody's breaker."""

MAX_EVIDENCE: Final = 30
"""The most failed jobs that are kept, in less than 1 KB. More would show nothing more."""

OPEN_SECONDS: Final = 5

MAX_OPEN_SECONDS: Final = 120

_DIGITS: Final = 12


class Breaker(NamedTuple):
    """One breaker, by the names of its attributes in the upstream's item."""

    until: str
    """The time until which it is open. It stays until a probe succeeds."""
    times: str
    """How often it was opened since the last success."""


EVERYBODY: Final = Breaker("open_until", "open_times")


def breakers_of(origin: TaskOrigin) -> tuple[Breaker, Breaker]:
    """Return the breakers that a call must find closed: everybody's and the client's own."""
    client = _short(origin.client_id)
    return EVERYBODY, Breaker(f"open_until_{client}", f"open_times_{client}")


def evidence_of(origin: TaskOrigin) -> str:
    """Name the failed job of a call, in letters and digits of a fixed length."""
    return _short(origin.client_id) + _short(origin.job_id)


def opened_by(evidence: Collection[str], origin: TaskOrigin) -> tuple[Breaker, ...]:
    """Return the breakers of a call that the evidence opens."""
    failed = Counter(job[:_DIGITS] for job in evidence)
    counts = (
        sum(min(count, CLIENT_WEIGHT) for count in failed.values()),
        failed[_short(origin.client_id)],
    )
    both = zip(breakers_of(origin), counts, strict=True)
    return tuple(breaker for breaker, count in both if count >= FAILURES)


def open_seconds(times: int) -> float:
    """Return how long a breaker is open that was opened `times` times before."""
    return min(OPEN_SECONDS * 2.0 ** min(times, 10), MAX_OPEN_SECONDS)


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
