"""The burst of one client's jobs: what it counts, and how a run is judged."""

from typing import Any

import pytest

from benchmarks import burst
from benchmarks.burst import CASES, Case, Outcome
from benchmarks.table import line
from sd3.domain.billing import NO_USAGE
from sd3.errors import StorageError

SMALL = Case("small", rate=100, seconds=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_at_few_jobs_a_second_all_that_the_budget_allows_is_admitted(case: Case) -> None:
    outcome = burst.run(case._replace(rate=10, seconds=2))
    assert len(outcome.waits) == 20
    assert outcome.failed == outcome.unwritten == outcome.wrong_days == 0
    assert outcome.refused == 20 - outcome.case.allowed
    assert outcome.units > 20


def test_an_end_that_was_not_written_is_no_difference_of_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lose(self: Any, _job: Any) -> None:
        raise StorageError("lost")

    monkeypatch.setattr("sd3.adapters.dynamodb.jobs.JobStore.save", lose)
    outcome = burst.run(SMALL)
    assert outcome.unwritten == 100
    assert outcome.wrong_days == 0


def test_a_wrong_ledger_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "sums_of", lambda *_, **__: {"bench-0": NO_USAGE})
    assert burst.run(SMALL).wrong_days == 1


def test_a_budget_for_half_of_the_jobs_is_in_micro_dollars() -> None:
    case = Case("half", daily_budget=0, rate=5, seconds=2)
    assert case.allowed == 5
    assert case.limits.daily_budget_micros == 5 * burst.MICROS


def test_a_run_is_the_same_again() -> None:
    first, second = burst.run(SMALL), burst.run(SMALL)
    assert first.waits == second.waits
    assert first.lags == second.lags


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ledger exact: met"),
        ({"failed": 1}, "ledger exact: missed"),
        ({"refused": 1}, "ledger exact: missed"),
        ({"unwritten": 1}, "ledger exact: missed"),
        ({"wrong_days": 2}, "ledger 2 days wrong: missed"),
        ({"lags": [1.0] * 99 + [2.0] * 2}, "ledger exact, 2000 ms late: met"),
        ({"waits": [0.01] * 98 + [0.061] * 2}, "ledger exact: missed"),
    ],
)
def test_a_row_judges_what_was_not_admitted_not_written_late_or_wrong(
    changes: dict[str, Any], verdict: str
) -> None:
    values: dict[str, Any] = {"waits": [0.01] * 98 + [0.06, 5.0], "units": 700}
    outcome = Outcome(SMALL, **values | changes)
    text = line(burst.row(outcome))
    assert text.endswith(verdict)
    assert "7.0 units" in text


def test_a_row_expects_refusals_beyond_a_budget() -> None:
    case = Case("half", daily_budget=0, rate=100, seconds=1)
    outcome = Outcome(case, waits=[0.01] * 100, refused=50, units=1)
    assert line(burst.row(outcome)).endswith(": met")


def test_each_rate_has_a_row_for_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "RATES", (1, 2))
    monkeypatch.setattr(burst, "in_parallel", map)
    monkeypatch.setattr(burst, "run", lambda case: Outcome(case, waits=[0.01], units=1))
    _, *rows = burst.measure(1)
    assert [one.name for one in rows] == [
        f"{rate} jobs a second, {case.name}" for rate in (1, 2) for case in CASES
    ]
