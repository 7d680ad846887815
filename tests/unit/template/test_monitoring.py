"""The alarms and the dashboard of monitoring.yaml watch what there is, and somebody hears of it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from local.alarms import state_of
from local.environment import ROOT
from sd3.observability import METRICS
from tests.support.factories.monitoring import (
    Watched,
    alarms,
    given,
    listed_alarms,
    shown_by,
    watched_by,
    watched_resources,
    widgets,
)
from tests.support.factories.template import of_type, references, resolved, source, translated

OF_AWS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    # docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    "AWS/ApiGateway": dict.fromkeys(
        ("Count", "4XXError", "5XXError", "Latency"), ("ApiName", "Stage")
    ),
    # docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": {
        "ClaimedAccountConcurrency": (),
        **dict.fromkeys(
            ("Invocations", "Errors", "Throttles", "IteratorAge", "DestinationDeliveryFailures"),
            ("FunctionName",),
        ),
    },
    # docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/,
    # sqs-available-cloudwatch-metrics.html
    "AWS/SQS": dict.fromkeys(
        (
            "ApproximateNumberOfMessagesVisible",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateAgeOfOldestMessage",
            "NumberOfMessagesReceived",
        ),
        ("QueueName",),
    ),
    # docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    "AWS/DynamoDB": dict.fromkeys(("ReadThrottleEvents", "WriteThrottleEvents"), ("TableName",)),
}
"""The metrics of AWS that are watched, with their dimensions and where AWS documents them."""

LEVELS: Final = ("ApproximateNumber", "ApproximateAge", "ClaimedAccount", "IteratorAge")
"""How metrics begin whose values are a level at a time. Their sum means nothing."""

PAGES: Final = ROOT / "docs/runbook"


def is_emitted(one: Watched) -> bool:
    """Whether anybody writes a metric with these dimensions."""
    if one.namespace != "sd3":
        return OF_AWS[one.namespace].get(one.name) == one.dimensions
    own = METRICS[one.name].dimension if one.name in METRICS else "none"
    return one.name in METRICS and one.dimensions in {("service",), ("service", own)}


def is_sensible(one: Watched) -> bool:
    """Whether the statistic says something about the metric."""
    if one.name.startswith(LEVELS):
        return one.stat == "Maximum"
    if one.name == "BreakerOpenMs":
        return one.stat == "Sum"
    is_time = one.name.endswith(("Ms", "Seconds")) or one.name == "Latency"
    return (one.stat == "Maximum" or one.stat.startswith("p")) if is_time else one.stat == "Sum"


# ---- The template --------------------------------------------------------------------------------


def test_template_yaml_gives_every_parameter() -> None:
    assert set(given()) == set(source("monitoring.yaml")["Parameters"])


def test_every_parameter_is_used() -> None:
    template = source("monitoring.yaml")
    assert set(references([template["Conditions"], template["Resources"]])) >= set(given())


def test_every_function_and_the_queues_that_keep_messages_are_watched() -> None:
    functions = of_type(translated(), "AWS::Lambda::Function")
    queues = of_type(translated(), "AWS::SQS::Queue")
    assert set(watched_resources()) >= {*functions, *queues, "AWS::StackName"}


def test_a_function_queue_or_table_is_given_by_its_name() -> None:
    """Metrics have names as dimensions: Ref is the name of a function, but the URL of a queue."""
    for kind, reference in (
        ("AWS::Lambda::Function", lambda name: {"Ref": name}),
        ("AWS::DynamoDB::Table", lambda name: {"Ref": name}),
        ("AWS::SQS::Queue", lambda name: {"Fn::GetAtt": [name, "QueueName"]}),
    ):
        for name in of_type(translated(), kind):
            assert given()[name] == reference(name)


def test_an_alarm_goes_to_the_topic_if_there_is_one_and_so_does_its_end() -> None:
    assert alarms()
    for alarm in alarms().values():
        for actions in ("AlarmActions", "OKActions"):
            properties = alarm["Properties"]
            assert resolved(properties, {"HasAlarmTopic"})[actions] == [{"Ref": "AlarmTopicArn"}]
            assert actions not in resolved(properties, set())


def test_an_alarm_is_quiet_while_nothing_happens() -> None:
    for name, alarm in alarms().items():
        quiet = "ignore" if name == "UnprocessableAlarm" else "notBreaching"
        assert alarm["Properties"]["TreatMissingData"] == quiet, name


def test_each_alarm_names_its_page_of_the_run_book() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(alarms())
    for name, alarm in alarms().items():
        assert alarm["Properties"]["AlarmDescription"].endswith(f"See docs/runbook/{name}.md.")


def test_the_services_metrics_have_the_stacks_name_as_those_of_another_stack_have_theirs() -> None:
    assert given()["ApiName"] == {"Ref": "AWS::StackName"}
    for name, function in of_type(translated(), "AWS::Lambda::Function").items():
        variables = function["Properties"]["Environment"]["Variables"]
        assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}, name


# ---- What is watched -----------------------------------------------------------------------------


def test_alarms_watch_metrics_that_are_emitted() -> None:
    for name, alarm in alarms().items():
        for one in watched_by(alarm):
            assert is_emitted(one), (name, one)
            assert is_sensible(one), (name, one)


def test_no_alarm_has_more_metrics_than_cloudwatch_takes() -> None:
    """docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html"""
    assert max(len(list(watched_by(alarm))) for alarm in alarms().values()) <= 10


def test_widgets_show_metrics_that_are_emitted() -> None:
    assert {widget["title"] for widget in widgets()} >= {"Requests", "Messages"}
    for widget in widgets():
        assert list(shown_by(widget)), widget["title"]
        for one in shown_by(widget):
            assert is_emitted(one), (widget["title"], one)
            assert is_sensible(one), (widget["title"], one)


def test_a_metric_that_nobody_emits_would_be_found() -> None:
    assert not is_emitted(Watched("sd3", "JobsEnded", ("service", "client_id"), "Sum"))
    assert not is_emitted(Watched("sd3", "JobsFinished", ("service",), "Sum"))
    assert not is_emitted(Watched("AWS/SQS", "QueueDepth", ("QueueName",), "Maximum"))
    assert not is_sensible(Watched("sd3", "OwnMs", ("service",), "Sum"))


def test_the_dashboard_shows_every_metric_and_every_alarm() -> None:
    shown = {one.name for widget in widgets() for one in shown_by(widget)}
    assert set(METRICS) <= shown
    assert listed_alarms() == set(alarms())


def test_the_dashboard_shows_every_queue() -> None:
    shown = {text for widget in widgets() for row in widget["metrics"] for text in row[:-1]}
    queues = of_type(translated(), "AWS::SQS::Queue")
    assert {name for name in queues if f"${{{name}}}" not in shown} == set()


# ---- What rings ----------------------------------------------------------------------------------

PARAMETERS: Final = {"MaxQueueHours": 6, "SpendAlarmDollars": 5}


def rings(name: str, periods: int = 1, **values: float | Callable[[int], float | None]) -> bool:
    """Whether an alarm rings after so many periods with these values, by their metrics' ids.

    A metric of an alarm without math is `value`. A value can depend on the number of the period.
    """
    alarm = _with_parameters(alarms()[name]["Properties"])
    queries = {str(one.get("MetricStat")): one["Id"] for one in alarm.get("Metrics", [])}
    [period] = {stat["Period"] for stat in _stats(alarm)}
    now = 100_000.0

    def read(stat: Mapping[str, Any], since: float, _until: float) -> float | None:
        number = round((now - since) / period)
        value = values.get(queries.get(str(stat), "value"))
        if number > periods or value is None:
            return None
        return value(number) if callable(value) else value

    assert set(values) <= {*queries.values(), "value"}
    return state_of(alarm, read, now=now) == "ALARM"


def _stats(alarm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [one["MetricStat"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
    return found or [alarm]


def _with_parameters(value: Any) -> Any:
    match value:
        case {"Ref": str(name)} if name in PARAMETERS:
            return PARAMETERS[name]
        case {"Fn::Sub": str(text)}:
            for name, number in PARAMETERS.items():
                text = text.replace(f"${{{name}}}", str(number))
            return text
        case dict():
            return {key: _with_parameters(item) for key, item in value.items()}
        case list():
            return [_with_parameters(item) for item in value]
    return value


@pytest.mark.parametrize(
    ("name", "periods", "values", "expected"),
    [
        ("ApiErrorsAlarm", 3, {"requests": 1000, "errors": 0}, False),
        ("ApiErrorsAlarm", 3, {"requests": 1000, "errors": 72}, False),
        ("ApiErrorsAlarm", 3, {"requests": 1000, "errors": 73}, True),
        ("ApiErrorsAlarm", 2, {"requests": 1000, "errors": 1000}, False),
        ("ApiErrorsAlarm", 3, {"requests": 19, "errors": 19}, False),
        ("ApiErrorsAlarm", 3, {"requests": 20, "errors": 20}, True),
        ("ApiErrorsAlarm", 3, {"requests": 1000, "errors": 100, "held": 100}, False),
        ("ApiErrorsAlarm", 3, {"requests": 1000, "errors": 100, "held": 27}, True),
        ("ApiErrorsSlowAlarm", 12, {"requests": 1000, "errors": 15}, False),
        ("ApiErrorsSlowAlarm", 12, {"requests": 1000, "errors": 16}, True),
        ("ApiErrorsSlowAlarm", 11, {"requests": 1000, "errors": 1000}, False),
        ("ApiErrorsSlowAlarm", 12, {"requests": 1, "errors": 1}, True),
        ("ApiErrorsSlowAlarm", 12, {"requests": 9, "errors": lambda n: n % 2}, False),
        ("GenerateErrorsAlarm", 1, {"value": 1}, True),
        ("FunctionErrorsAlarm", 1, {"authorizer": 0, "jobs": 0}, False),
        ("FunctionErrorsAlarm", 1, {"changes": 1}, True),
        ("ThrottlesAlarm", 1, {"generate": 2, "jobs": 2}, False),
        ("ThrottlesAlarm", 1, {"generate": 2, "jobs": 3}, True),
        ("TablesThrottledAlarm", 3, {"jobs": 1}, True),
        ("TablesThrottledAlarm", 2, {"jobs": 1}, False),
        ("JobsFailedAlarm", 1, {"ended": 10, "broken": 2}, False),
        ("JobsFailedAlarm", 1, {"ended": 10, "broken": 2, "internal": 1}, True),
        ("JobsFailedAlarm", 1, {"ended": 4, "unavailable": 4}, False),
        ("JobsFailedAlarm", 1, {"ended": 100}, False),
        ("UnknownOutcomesAlarm", 1, {"value": 4}, False),
        ("UnknownOutcomesAlarm", 1, {"value": 5}, True),
        ("SpendAlarm", 1, {"cost": 5_000_000}, False),
        ("SpendAlarm", 1, {"cost": 5_000_001}, True),
        ("QueueLateAlarm", 1, {"seen": 5399, "unseen": 5399}, False),
        ("QueueLateAlarm", 1, {"seen": 5400}, True),
        ("QueueLateAlarm", 1, {"unseen": 5400}, True),
        ("StreamLateAlarm", 1, {"ends": 599_999, "writes": 600_000}, True),
        ("DeadLettersAlarm", 1, {"left": 0}, False),
        ("DeadLettersAlarm", 1, {"handled": 1, "left": 0}, True),
        ("UnprocessableAlarm", 1, {"value": 1}, True),
        ("WebhooksLateAlarm", 2, {"waited": 299_999, "received": 9, "visible": 9}, False),
        ("WebhooksLateAlarm", 2, {"waited": 300_000, "received": 9}, True),
        ("WebhooksLateAlarm", 1, {"waited": 300_000, "received": 9}, False),
        ("WebhooksLateAlarm", 2, {"visible": 1}, True),
        ("WebhooksLateAlarm", 2, {"visible": 0}, False),
        ("WebhooksLateAlarm", 2, {"visible": 1, "received": lambda n: n or None}, False),
        ("EventsLostAlarm", 1, {"inbox": 1}, True),
        ("UpstreamRefusedAlarm", 1, {"value": 1}, True),
        ("BreakerOpenAlarm", 1, {"value": 449_999}, False),
        ("BreakerOpenAlarm", 1, {"value": 450_000}, True),
    ],
)
def test_an_alarm_rings_from_its_threshold_on(
    name: str, periods: int, values: dict[str, Any], expected: bool
) -> None:
    assert rings(name, periods, **values) is expected


@pytest.mark.parametrize("name", set(alarms()) - {"UnprocessableAlarm"})
def test_no_alarm_rings_where_nothing_happens(name: str) -> None:
    assert not rings(name, periods=0)


def test_the_burn_alarms_spend_the_budget_as_fast_as_they_say() -> None:
    """99.5 % of 30 days: 14.4 times as fast it is gone in 2 days, 3 times as fast in 10."""
    for name, times in (("ApiErrorsAlarm", 14.4), ("ApiErrorsSlowAlarm", 3)):
        assert alarms()[name]["Properties"]["Threshold"] == pytest.approx(times * 0.5)
