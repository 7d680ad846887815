"""make metrics: the numbers of the dashboard of monitoring.yaml, as moto's CloudWatch has them."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from ops.metrics import duration, report, sparkline
from sd3.observability import METRICS
from tests.support.factories.monitoring import dashboard_body

NOW = datetime.now(UTC)

PERCENTILES: Final = {"UpstreamMs", "OwnMs", "QueueWaitMs", "WebhookDelayMs", "WebhookWaitMs"}
"""Metrics of which percentiles are shown, which moto has not. The e2e tests show them."""


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Provide CloudWatch with the dashboard of a stack."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("cloudwatch", region_name="eu-central-1")
        body = dashboard_body(ApiName="prod", **{"AWS::Region": "eu-central-1"})
        client.put_dashboard(DashboardName="prod-eu-central-1", DashboardBody=body)
        yield client


def put(cloudwatch: Any, name: str, value: float, *, minutes: int = 5, **dimensions: str) -> None:
    """Put a metric as the functions do, some minutes ago."""
    for named in ({"service": "prod"}, {"service": "prod", **dimensions}):
        datum = {
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": text} for key, text in named.items()],
            "Timestamp": NOW - timedelta(minutes=minutes),
            "Value": value,
        }
        cloudwatch.put_metric_data(Namespace="sd3", MetricData=[datum])
        if not dimensions:
            return


def lines(cloudwatch: Any) -> list[str]:
    return [
        " ".join(line.split())
        for line in report(cloudwatch, "prod", since=timedelta(hours=3), now=NOW)
    ]


def test_a_stack_that_nobody_has_used_shows_nothing(cloudwatch: Any) -> None:
    [_, _, silent, alarms] = lines(cloudwatch)
    assert silent.startswith("nothing to show: Requests; Latency of the API, ms;")
    assert alarms == "no alarm rings"


def test_every_metric_of_the_service_is_shown(cloudwatch: Any) -> None:
    for name in METRICS.keys() - PERCENTILES:
        definition = METRICS[name]
        dimensions = {definition.dimension: "x"} if definition.dimension else {}
        put(cloudwatch, name, 7, minutes=5, **dimensions)
    [silent] = [line for line in lines(cloudwatch) if line.startswith("nothing to show")]
    of_aws = {"Latency of the API, ms", "Errors of functions", "Throttles of functions"}
    assert set(silent.removeprefix("nothing to show: ").split("; ")) == of_aws | {
        "Messages",
        "Lateness of the streams, ms",
        "Time of an attempt, ms",
        "Webhooks, from the event to its delivery, ms",
        "Wait of webhooks in the queue, ms",
        "Messages to webhooks",
    }


def test_money_is_in_dollars_and_by_upstream(cloudwatch: Any) -> None:
    put(cloudwatch, "CostMicros", 30_000, upstream="stability")
    put(cloudwatch, "CostMicros", 60_000, minutes=65, upstream="stability")
    put(cloudwatch, "CostMicros", 1_000_000, minutes=500, upstream="stability")
    [line] = {line for line in lines(cloudwatch) if line.startswith("stability")}
    assert line.startswith("stability 0.09 ")
    assert [bar for bar in line.split()[-1] if bar != "·"] == ["█", "▅"]


def test_the_metrics_of_another_stack_are_not_shown(cloudwatch: Any) -> None:
    other = [{"Name": "service", "Value": "other"}, {"Name": "upstream", "Value": "stability"}]
    datum = {"MetricName": "CostMicros", "Dimensions": other, "Timestamp": NOW, "Value": 1}
    cloudwatch.put_metric_data(Namespace="sd3", MetricData=[datum])
    assert not [line for line in lines(cloudwatch) if line.startswith("stability")]


def test_alarms_that_ring_are_named(cloudwatch: Any) -> None:
    name = "prod-Monitoring-1X-SpendAlarm-2Y"
    cloudwatch.put_metric_alarm(
        AlarmName=name, AlarmDescription="Too dear.", Namespace="sd3", MetricName="CostMicros",
        Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    assert lines(cloudwatch)[-2:] == ["alarms that ring", "Too dear."]


def test_bars_begin_at_zero() -> None:
    assert sparkline([0, 1, None, 7]) == "▁▂·█"
    assert sparkline([0, 0]) == "▁▁"


@pytest.mark.parametrize(("text", "minutes"), [("30m", 30), ("3h", 180), ("2d", 2880)])
def test_a_time_span_has_a_unit(text: str, minutes: int) -> None:
    assert duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "3", "h", "0h", "-1h", "3 h", "1.5h", "99999d"])
def test_anything_else_is_no_time_span(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="as 3h"):
        duration(text)
