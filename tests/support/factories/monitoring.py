"""The alarms and the dashboard of monitoring.yaml, and what they watch of template.yaml."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.support.factories.template import Resources, of_type, references, source

_SEARCH: Final = re.compile(
    r"""SEARCH\('\{(\w+),([\w,]+)\} MetricName="(\w+)" service="\$\{ApiName\}"', '(\w+)', """
)


class Watched(NamedTuple):
    """A metric, and the statistic of it that an alarm or a widget uses."""

    namespace: str
    name: str
    dimensions: tuple[str, ...]
    stat: str


def alarms() -> Resources:
    """Return the alarms by their names."""
    return of_type(source("monitoring.yaml")["Resources"], "AWS::CloudWatch::Alarm")


def given() -> dict[str, Any]:
    """Return what template.yaml gives to the parameters of monitoring.yaml."""
    parameters: dict[str, Any] = source()["Resources"]["Monitoring"]["Properties"]["Parameters"]
    return parameters


def stats(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statistics of an alarm, as a MetricStat each."""
    properties = alarm["Properties"]
    if "Metrics" not in properties:
        metric = {name: properties[name] for name in ("Namespace", "MetricName", "Dimensions")}
        yield {"Metric": metric, "Stat": properties["Statistic"], "Period": properties["Period"]}
    for query in properties.get("Metrics", ()):
        if "MetricStat" in query:
            yield query["MetricStat"]


def watched_by(alarm: dict[str, Any]) -> Iterator[Watched]:
    """Yield the metrics of an alarm."""
    for stat in stats(alarm):
        metric = stat["Metric"]
        names = tuple(each["Name"] for each in metric["Dimensions"])
        yield Watched(metric["Namespace"], metric["MetricName"], names, stat["Stat"])


def widgets() -> list[dict[str, Any]]:
    """Return the properties of the widgets with metrics."""
    return [one["properties"] for one in _dashboard() if one["type"] == "metric"]


def listed_alarms() -> set[str]:
    """Return the alarms that the dashboard lists."""
    [listing] = [one["properties"]["alarms"] for one in _dashboard() if one["type"] == "alarm"]
    return {name for arn in listing for name in re.findall(r"\$\{(\w+)\.Arn\}", arn)}


def shown_by(widget: dict[str, Any]) -> Iterator[Watched]:
    """Yield the metrics of a widget."""
    for row in widget["metrics"]:
        match row:
            case [{"expression": expression}]:
                [(namespace, names, name, stat)] = _SEARCH.findall(expression)
                yield Watched(namespace, name, tuple(names.split(",")), stat)
            case [namespace, name, *dimensions, {"stat": stat}]:
                yield Watched(namespace, name, tuple(dimensions[::2]), stat)


def watched_resources() -> Iterator[str]:
    """Yield the resources of template.yaml that some alarm watches."""
    for alarm in alarms().values():
        for stat in stats(alarm):
            for parameter in references(stat["Metric"]["Dimensions"]):
                yield from references(given()[parameter])


def dashboard_body(**values: str) -> str:
    """Return the body of the dashboard with these values, and names for all others."""
    return re.sub(r"\$\{([\w:.]+)\}", lambda found: values.get(found[1], found[1]), _text())


def _dashboard() -> list[dict[str, Any]]:
    body: list[dict[str, Any]] = json.loads(_text())["widgets"]
    return body


def _text() -> str:
    """Return the body of the dashboard as Fn::Sub reads it, of a stack that has a SpendAlarm."""
    [dashboard] = of_type(
        source("monitoring.yaml")["Resources"], "AWS::CloudWatch::Dashboard"
    ).values()
    text, variables = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
    [_, spend, _] = variables["Spend"]["Fn::If"]
    body: str = text.replace("${Spend}", spend["Fn::Sub"])
    return body
