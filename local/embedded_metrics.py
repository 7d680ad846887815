"""Gives MiniStack's CloudWatch the metrics that AWS would have, and alarms that look at them.

- Lines in the embedded metric format become metrics when a function has ended.
- Functions that a queue, a stream, a bucket or the gateway calls are counted, as those are that are
  invoked by Lambda's own API.
- The gateway counts requests, errors and latencies. Queues are measured when somebody asks.
- Alarms look at their dimensions and at each period, and know metric math. They are evaluated when
  somebody asks for them or puts metrics, and not every minute.
"""

# ruff: noqa: SLF001 - MiniStack has no public names for what is completed here

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from local.alarms import state_of

_METRIC_LINE: Final = '{"_aws":'


def measure_functions(functions: Any, cloudwatch: Any) -> None:
    """Record every invocation, and the metrics that the function wrote to its log."""
    dispatch, emit = functions._execute_function_dispatch, functions._emit_lambda_metrics

    def dispatched(func: Any, config: Any, event: Any, request_id: str, started: float) -> Any:
        since = time.time()
        result = dispatch(func, config, event, request_id, started)
        values = {
            "Invocations": (1, "Count"),
            "Errors": (int(bool(result.get("error"))), "Count"),
            "Duration": (1000 * (time.time() - since), "Milliseconds"),
        }
        if age := _stream_age(event, since):
            values["IteratorAge"] = (1000 * age, "Milliseconds")
        dimensions = {"FunctionName": config.get("FunctionName", "")}
        for name, (value, unit) in values.items():
            cloudwatch.record_metric("AWS/Lambda", name, value, unit, dimensions)
        for line in (result.get("log") or "").splitlines():
            if line.startswith(_METRIC_LINE):
                _record_line(json.loads(line), cloudwatch)
        return result

    def throttled(name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        """Record throttles only. Those of Lambda's own API are reported twice."""
        if throttle and not duration_ms:
            emit(name, duration_ms, error, throttle)

    functions._execute_function_dispatch = dispatched
    functions._emit_lambda_metrics = throttled


def _stream_age(event: Any, now: float) -> float:
    """Return the age of the last record of a batch of a table's stream; 0 for other events."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not records or records[-1].get("eventSource") != "aws:dynamodb":
        return 0.0
    return max(now - float(records[-1]["dynamodb"]["ApproximateCreationDateTime"]), 0.001)


def _record_line(line: Mapping[str, Any], cloudwatch: Any) -> None:
    """Record a line in the embedded metric format."""
    head = line["_aws"]
    for directive in head["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: line[name] for name in names}
            for metric in directive["Metrics"]:
                name, found = metric["Name"], line[metric["Name"]]
                cloudwatch._store_datum(
                    directive["Namespace"],
                    name,
                    dimensions,
                    head["Timestamp"] / 1000,
                    metric.get("Unit", "None"),
                    None,
                    found if isinstance(found, list) else [found],
                    None,
                    None,
                )


def measure_api(gateway: Any, cloudwatch: Any) -> None:
    """Record the requests, errors and latencies of REST APIs."""
    handle = gateway._handle_execute_in_scope

    async def handled(api_id: str, stage: str, *rest: Any) -> Any:
        since = time.time()
        response = await handle(api_id, stage, *rest)
        dimensions = {"ApiName": gateway._rest_apis.get(api_id, {}).get("name"), "Stage": stage}
        status = int(response[0])
        for name, value, unit in (
            ("Count", 1, "Count"),
            ("4XXError", int(400 <= status < 500), "Count"),
            ("5XXError", int(status >= 500), "Count"),
            ("Latency", 1000 * (time.time() - since), "Milliseconds"),
        ):
            cloudwatch.record_metric("AWS/ApiGateway", name, value, unit, dimensions)
        return response

    gateway._handle_execute_in_scope = handled


def measure_queues(queues: Any, cloudwatch: Any) -> None:
    """Measure the queues whenever somebody asks for metrics or alarms."""
    get_data, describe = cloudwatch._get_metric_data, cloudwatch._describe_alarms

    def measured(*arguments: Any) -> Any:
        _measure(queues, cloudwatch)
        return get_data(*arguments)

    def described(*arguments: Any) -> Any:
        _measure(queues, cloudwatch)
        cloudwatch._evaluate_all_alarms()
        return describe(*arguments)

    cloudwatch._get_metric_data, cloudwatch._describe_alarms = measured, described


def _measure(queues: Any, cloudwatch: Any) -> None:
    now = time.time()
    for url in list(queues._queues):
        queue = queues._queues[url]
        queues._refresh_counts(queue)
        waiting = [one["sent_at"] for one in queue["messages"] if one["receive_count"] < 3]
        values = {
            "ApproximateNumberOfMessagesVisible": queue["attributes"][
                "ApproximateNumberOfMessages"
            ],
            "ApproximateNumberOfMessagesNotVisible": queue["attributes"][
                "ApproximateNumberOfMessagesNotVisible"
            ],
            "ApproximateAgeOfOldestMessage": now - min(waiting, default=now),
        }
        for name, value in values.items():
            dimensions = {"QueueName": url.rsplit("/", 1)[-1]}
            cloudwatch.record_metric("AWS/SQS", name, float(value), "None", dimensions)


def evaluate_alarms(provisioners: Any, cloudwatch: Any) -> None:
    """Accept alarms on metric math, and evaluate all alarms as CloudWatch does."""
    record = provisioners._cw_metric_alarm_record

    def recorded(name: str, properties: Mapping[str, Any]) -> Any:
        metrics = properties.get("Metrics")
        if not metrics:
            return record(name, properties)
        single = {key: value for key, value in properties.items() if key != "Metrics"}
        alarm = record(name, {**single, "Namespace": "math", "MetricName": "math"})
        return {**alarm, "Namespace": None, "MetricName": None, "Metrics": metrics}

    def read(stat: Mapping[str, Any], since: float, until: float) -> float | None:
        metric = stat["Metric"]
        dimensions = cloudwatch._dims_from_list(metric.get("Dimensions") or [])
        key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))
        points: Iterable[Any] = cloudwatch._metrics.get(key) or ()
        found = [one for one in points if since <= one["Timestamp"] < until]
        value: float | None = None
        if found:
            value = cloudwatch._stat_value(cloudwatch._calc_stats(found), stat["Stat"], found)
        return value

    def evaluated(alarm: dict[str, Any]) -> None:
        old, new = alarm["StateValue"], state_of(alarm, read, now=time.time())
        if new is None or new == old:
            return
        reason = f"evaluated as {new}"
        now = int(time.time())
        alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=now)
        cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
        cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)

    provisioners._cw_metric_alarm_record = recorded
    cloudwatch._evaluate_alarm = evaluated
