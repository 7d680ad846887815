"""The simulated load on the rate limiter: what the table takes, and how a run is judged."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks import gate
from benchmarks.gate_table import ATTEMPTS, WAY_SECONDS, WRITE_UNITS, GateTable, Meter, size
from benchmarks.virtual_time import VirtualTime
from sd3.settings import Rate
from sd3.upstreams.rate_limit.schedule import RateBounds


class Calls:
    """Calls of the table, and when each was answered."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.table = GateTable(self.time, Random(1))  # noqa: S311 - nothing secret
        self.answers: list[float] = []
        self.errors = 0

    def add(self, call: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                call()
            except ClientError:
                self.errors += 1
            self.answers.append(self.time.now)

        self.time.start(run)

    def write(self) -> None:
        update = {
            "UpdateExpression": "SET next_slot_at = :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        self.add(lambda: self.table.update_item(Key={"id": {"S": "one"}}, **update))


def test_one_item_takes_a_thousand_writes_a_second_and_the_sdk_repeats_the_others() -> None:
    calls = Calls()
    for _ in range(WRITE_UNITS + 10):
        calls.write()
    calls.time.run()
    assert calls.answers.count(2 * WAY_SECONDS) == WRITE_UNITS
    assert calls.table.throttled >= 10
    assert calls.errors <= calls.table.throttled // ATTEMPTS
    assert calls.table.items.writes == WRITE_UNITS + 10 - calls.errors


def test_an_item_that_stays_throttled_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meter, "admits", lambda *_: False)
    calls = Calls()
    calls.write()
    calls.add(lambda: calls.table.get_item(Key={"id": {"S": "one"}}))
    calls.time.run()
    assert (calls.errors, calls.table.throttled) == (2, 2 * ATTEMPTS)


def test_a_second_has_so_many_units_and_then_as_many_again() -> None:
    meter = Meter(3)
    assert [meter.admits(2, at) for at in (0, 0.5, 1)] == [True, False, True]
    assert [meter.admits(1, at) for at in (1, 1.5)] == [True, False]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 0),
        ({"next_slot_at": 1_800_000_000_000_000}, 12 + 9),
        ({"failed": {"a" * 24, "b" * 24}}, 6 + 3 + 2 * 25),
        ({"leases": {"p123": 1_800_000_000_000_000}}, 6 + 3 + 4 + 9 + 1),
    ],
)
def test_the_size_of_an_item_is_about_dynamodbs(values: dict[str, Any], expected: int) -> None:
    assert size(values) == expected


def test_a_run_is_the_same_again() -> None:
    runs = [gate.run(gate.BOUNDED, 300, failed_share=0.1, seconds=1) for _ in range(2)]
    assert runs[0].begun == runs[1].begun


def test_a_healthy_upstream_without_bounds_refuses_nothing_and_costs_no_write() -> None:
    text = gate.text(gate.run(gate.UNBOUNDED, 300, seconds=1))
    assert text.startswith("refused 0 of 300, with a slot free 0; a call 0.00 writes, ")
    assert text.endswith("p50 0 ms, p99 5 ms: met")


def test_what_a_bound_does_not_allow_is_refused_and_no_slot_stays_free() -> None:
    run = gate.run(RateBounds(rate=Rate(60, 1)), 200, seconds=2)
    assert 200 < len(run.refused) < 280
    assert not run.wrongly
    assert gate.text(run).endswith(": met")
    run.wrongly.append(1.0)
    assert gate.text(run).endswith(": missed")


def test_an_outage_ends_the_calls_and_then_all_call_again() -> None:
    run = gate.run(gate.UNBOUNDED, 100, outage=(1, 3), seconds=11)
    assert 0 < run.calls_between(1, 3) < 150
    assert not run.wrongly or min(run.wrongly) > 1
    assert "all call again 4." in gate.outage_text(run)


def test_more_calls_in_a_window_than_allowed_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateBounds, "slot", 1)
    with pytest.raises(RuntimeError, match="a window"):
        gate.run(RateBounds(rate=Rate(60, 1)), 200, seconds=1)


def test_there_is_a_row_for_each_load_and_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LOADS", ((gate.UNBOUNDED, 50), (gate.BOUNDED, 60)))
    monkeypatch.setattr(gate, "OUTAGE_LOADS", ((gate.UNBOUNDED, 20),))
    assert [row.name for row in gate.measure(1)] == [
        "calls come to one upstream for 4 s, virtual time",
        "50 a second, no bound, healthy",
        "50 a second, no bound, 1% fail",
        "60 a second, 2000 allowed, healthy",
        "60 a second, 2000 allowed, 1% fail",
        "an outage of 20 s",
        "20 a second, no bound",
    ]
