"""python -m ops.metrics SINCE: print the numbers of the dashboard, and the alarms that ring."""

import argparse
import json
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ops.stacks import STACK_NAME, StackError, find_stack

_MARKS: Final = 36
"""Periods that are shown, at most."""

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 38

_SEARCH: Final = re.compile(
    r"""SEARCH\('\{(?P<namespace>\w+),service,(?P<dimension>\w+)\} MetricName="(?P<name>\w+)" """
    r"""service="(?P<service>[^"]+)"', '(?P<stat>\w+)', \d+\)(?: / (?P<divisor>\d+))?"""
)


class Row(NamedTuple):
    """One line: a metric, and how it is shown."""

    title: str
    """Of the widget that has the metric."""
    label: str
    metric: dict[str, Any]
    stat: str
    divisor: int = 1


def main(arguments: list[str]) -> int:
    """Print the metrics, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make metrics", description=__doc__)
    parser.add_argument("since", metavar="SINCE", type=duration, help="30m, 3h or 2d")
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    options = parser.parse_args(arguments)
    try:
        deployed = find_stack(options.stack)
        cloudwatch = deployed.client("cloudwatch")
        for line in report(
            cloudwatch, options.stack or STACK_NAME, since=options.since, now=datetime.now(UTC)
        ):
            print(line)
    except (StackError, BotoCoreError, ClientError) as error:
        print(f"no metrics: {error}", file=sys.stderr)
        return 1
    return 0


def duration(text: str) -> timedelta:
    """Parse a time span as `30m`, `3h` or `2d`."""
    found = re.fullmatch("([1-9][0-9]{0,3})([mhd])", text)
    if not found:
        msg = f"a time span is a number and m, h or d, as 3h: {text!r}"
        raise ArgumentTypeError(msg)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def report(cloudwatch: Any, stack: str, *, since: timedelta, now: datetime) -> Iterator[str]:
    """Format the metrics of a stack's dashboard and its alarms. Raises botocore's errors."""
    period = 60 * -(-int(since.total_seconds()) // (60 * _MARKS))
    end = (int(now.timestamp()) // period + 1) * period
    marks = range(end - period * -(-int(since.total_seconds()) // period), end, period)
    name = f"{stack}-{cloudwatch.meta.region_name}"
    body = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    widgets = [one["properties"] for one in body["widgets"] if one["type"] == "metric"]
    rows = list(rows_of(widgets, cloudwatch))
    series = values_of(rows, cloudwatch, marks)
    minutes = f"{period // 60} minute{'s' if period > 60 else ''}"
    yield f"{stack} since {datetime.fromtimestamp(marks[0], UTC):%Y-%m-%d %H:%M} UTC, by {minutes}"
    yield f"{'':{_WIDTH}} {'sum or highest':>14}"
    yield from _table([one["title"] for one in widgets], rows, series, marks)
    yield from _alarms(cloudwatch, stack)


def rows_of(widgets: Sequence[Mapping[str, Any]], cloudwatch: Any) -> Iterator[Row]:
    """Return a row for each metric of the widgets, and for each metric that a SEARCH finds."""
    for widget in widgets:
        for line in widget["metrics"]:
            match line:
                case [{"expression": expression}]:
                    yield from _found(widget["title"], expression, cloudwatch)
                case [namespace, name, *dimensions, {"stat": stat, "label": label}]:
                    pairs = zip(dimensions[::2], dimensions[1::2], strict=True)
                    metric = _metric(namespace, name, pairs)
                    yield Row(widget["title"], label, metric, stat)


def values_of(rows: Sequence[Row], cloudwatch: Any, marks: range) -> dict[int, dict[int, float]]:
    """Return the values of each row by the times of its marks, and the rows by their numbers."""
    queries = [
        {
            "Id": f"row{number}",
            "MetricStat": {"Metric": row.metric, "Stat": row.stat, "Period": marks.step},
        }
        for number, row in enumerate(rows)
    ]
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries,
        StartTime=datetime.fromtimestamp(marks[0], UTC),
        EndTime=datetime.fromtimestamp(marks[-1] + marks.step, UTC),
    )
    values: dict[int, dict[int, float]] = {number: {} for number in range(len(rows))}
    for page in pages:
        for found in page["MetricDataResults"]:
            times = (int(time.timestamp()) for time in found["Timestamps"])
            values[int(found["Id"].removeprefix("row"))].update(
                zip(times, found["Values"], strict=True)
            )
    return values


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values as bars, from 0 to the largest; a time without a value is a dot."""
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(
        "·" if value is None else _BARS[round(value / most * (len(_BARS) - 1)) if most else 0]
        for value in values
    )


def _metric(namespace: str, name: str, dimensions: Any) -> dict[str, Any]:
    named = [{"Name": key, "Value": value} for key, value in dimensions]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": named}


def _found(title: str, expression: str, cloudwatch: Any) -> Iterator[Row]:
    search = _SEARCH.fullmatch(expression)
    if not search:
        return
    pages = cloudwatch.get_paginator("list_metrics").paginate(
        Namespace=search["namespace"], MetricName=search["name"]
    )
    for metric in (one for page in pages for one in page["Metrics"]):
        dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        if len(dimensions) == 2 and dimensions.get("service") == search["service"]:
            yield Row(
                title,
                dimensions[search["dimension"]],
                _metric(search["namespace"], search["name"], dimensions.items()),
                search["stat"],
                int(search["divisor"] or 1),
            )


def _table(
    titles: Sequence[str],
    rows: Sequence[Row],
    series: Mapping[int, Mapping[int, float]],
    marks: Sequence[int],
) -> Iterator[str]:
    """Format the widgets that have values, and name those that have none."""
    silent = []
    for title in titles:
        shown = [
            _line(row, [series[number].get(mark) for mark in marks])
            for number, row in enumerate(rows)
            if row.title == title and any(series[number].values())
        ]
        if shown:
            yield title
            yield from shown
        else:
            silent.append(title)
    if silent:
        yield f"nothing to show: {'; '.join(silent)}"


def _line(row: Row, values: Sequence[float | None]) -> str:
    there = [value / row.divisor for value in values if value is not None]
    whole = sum(there) if row.stat == "Sum" else max(there, default=0.0)
    number = f"{whole:,.0f}" if whole >= 100 or whole == int(whole) else f"{whole:.3g}"
    return f"  {row.label:{_WIDTH - 2}} {number:>14}  {sparkline(values)}".rstrip()


def _alarms(cloudwatch: Any, stack: str) -> Iterator[str]:
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=f"{stack}-Monitoring-", StateValue="ALARM"
    )
    ringing = [alarm["AlarmDescription"] for page in pages for alarm in page["MetricAlarms"]]
    yield "alarms that ring" if ringing else "no alarm rings"
    yield from (f"  {text}" for text in ringing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
