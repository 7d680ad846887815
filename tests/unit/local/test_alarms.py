"""How the embedded AWS evaluates alarms. Those of monitoring.yaml are in test_monitoring.py."""

from collections.abc import Mapping
from typing import Any

import pytest

from local.alarms import evaluate, state_of

ALARM = {
    "Namespace": "sd3", "MetricName": "JobsEnded", "Dimensions": [], "Statistic": "Sum",
    "Period": 60, "EvaluationPeriods": 3, "Threshold": 1, "TreatMissingData": "notBreaching",
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
}  # fmt: skip


def state(*values: float | None, **changes: Any) -> str | None:
    """Return the state of an alarm with these values, of which the first is the latest."""

    def read(_stat: Mapping[str, Any], _since: float, until: float) -> float | None:
        return values[round((1000 - until) / 60)]

    return state_of({**ALARM, **changes}, read, now=1000.0)


@pytest.mark.parametrize(
    ("values", "changes", "expected"),
    [
        ((1, 1, 1), {}, "ALARM"),
        ((1, 1, 0), {}, "OK"),
        ((1, None, 1), {}, "OK"),
        ((1, None, 1), {"DatapointsToAlarm": 2}, "ALARM"),
        ((None, None, None), {}, "OK"),
        ((None, None, None), {"TreatMissingData": "ignore"}, None),
        ((0, 0, 0), {"ComparisonOperator": "LessThanThreshold"}, "ALARM"),
    ],
)
def test_an_alarm_rings_when_enough_periods_are_beyond_its_threshold(
    values: tuple[float | None, ...], changes: dict[str, Any], expected: str | None
) -> None:
    assert state(*values, **changes) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("100 * a / b", 50),
        ("a - -1 * b", 3),
        ("a / zero", None),
        ("a + none", None),
        ("SUM([a, none, b])", 3),
        ("MAX([none, zero])", 0),
        ("SUM([none])", None),
        ("IF(b > 1, a, zero)", 1),
        ("IF(b <= 1, a, zero)", 0),
        ("IF(none > 1, a, b)", None),
    ],
)
def test_metric_math_leaves_out_what_is_missing(expression: str, expected: float | None) -> None:
    assert evaluate(expression, {"a": 1.0, "b": 2.0, "zero": 0.0, "none": None}) == expected


@pytest.mark.parametrize("expression", ["RATE(a)", "SUM(a)", "'text'", "a if b else a"])
def test_what_is_not_known_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError, match="not known"):
        evaluate(expression, {"a": 1.0, "b": 1.0})
