"""make bench ARGS=cost: the tables are of what the functions do, and count all that is paid."""

from typing import Any

import pytest

from benchmarks import costs, recorded
from benchmarks.aws_calls import EVENT_SOURCE, OUTSIDE, WAITING, trace_all
from benchmarks.entrypoints import ENTRYPOINTS
from benchmarks.prices import calls_price, compute_price

NOT_OF_CALLS = ("Logs", *costs.KEPT)


def test_the_record_has_the_calls_that_the_functions_make() -> None:
    """If not, `make bench ARGS=record` and `make docs` bring record and page up to date."""
    now = trace_all(1, s3_ms=0, table_ms=0, queue_ms=0)
    for entrypoint, steps in recorded.read().steps.items():
        [trace] = now[entrypoint]
        assert [(step.function, step.calls, step.units) for step in trace] == [
            (step.function, step.calls, step.units) for step in steps
        ]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_each_call_and_each_run_is_in_one_line_of_the_table(entrypoint: str) -> None:
    at = ENTRYPOINTS.index(entrypoint)
    listed = sum(row.dollars[at] for row in costs.image_rows() if row.name not in NOT_OF_CALLS)
    steps = recorded.read().steps[entrypoint]
    expected = compute_price(sum(step.seconds for step in steps), waiting=WAITING[entrypoint])
    for calls in (EVENT_SOURCE, OUTSIDE[entrypoint], *(step.calls for step in steps)):
        expected += calls_price(calls, {})
    for step in steps:
        expected += calls_price({"lambda Invoke": 1}, step.units)
    expected += calls_price({"s3 GetObject": 1}, {})  # the client fetches the image
    assert listed == pytest.approx(1000 * expected)


def test_an_alarm_on_an_expression_is_paid_for_each_of_its_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metric = {"MetricStat": {"Stat": "Sum"}}
    alarms: list[dict[str, Any]] = [
        {"MetricName": "Errors"},
        {"Metrics": [metric, metric, {"Expression": "m1 / m2"}]},
    ]
    kind = "AWS::CloudWatch::Alarm"
    resources = {str(each): {"Type": kind, "Properties": each} for each in alarms}
    monkeypatch.setattr(costs, "_template", lambda _: {"Resources": resources})
    assert costs._alarm_metrics() == 3


def test_a_client_that_waits_pays_for_the_function_that_it_holds() -> None:
    held, asked, _ = costs.waiting_rows()
    own = 10 * 512 / 1024 * 0.0000133334  # 10 s of 512 MB
    assert 1000 * own < held.dollars[0] < 2 * 1000 * own
    assert asked.dollars[0] < held.dollars[0] / 2


def test_what_is_free_is_taken_off_once() -> None:
    [alarms] = [row for row in costs.idle_rows() if row.name.startswith("Alarms")]
    assert alarms.dollars[1] == pytest.approx(max(alarms.dollars[0] - 10 * 0.10, 0))
