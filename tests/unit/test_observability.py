"""What functions write to their log: metrics that CloudWatch reads, and lines that name a call."""

import json
import time
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from sd3.observability import METRICS, EmbeddedMetrics, inject_lambda_context, logger
from tests.support.factories.lambda_context import lambda_context


@pytest.fixture(autouse=True)
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the environment of a function's process."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "sd3")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "sd3")
    logger.cache_clear()
    yield
    logger.cache_clear()


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_a_line_that_cloudwatch_can_read(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dimension = METRICS[name].dimension
    dimensions = {dimension: "x"} if dimension else {}
    EmbeddedMetrics().add(name, 12.5, client_id="acme", job_id="job-1", **dimensions)
    [line] = written(capsys)
    cloudwatch = botocore.session.get_session().get_service_model("cloudwatch")
    head = line.pop("_aws")
    [directive] = head["CloudWatchMetrics"]
    assert abs(head["Timestamp"] / 1000 - time.time()) < 3600
    assert directive["Namespace"] == "sd3"
    assert directive["Dimensions"] == [
        ["service"],
        *([["service", dimension]] if dimension else []),
    ]
    [metric] = directive["Metrics"]
    units = {"Ms": "Milliseconds", "Seconds": "Seconds"}
    [unit] = [each for end, each in units.items() if name.endswith(end)] or ["Count"]
    assert metric == {"Name": name, "Unit": unit}
    assert metric["Unit"] in cloudwatch.shape_for("StandardUnit").enum  # type: ignore[attr-defined]
    ids = {"client_id": "acme", "job_id": "job-1"}
    assert line == {"service": "sd3", name: [12.5], **dimensions, **ids}


def test_each_metric_of_a_batch_keeps_its_own_properties(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = EmbeddedMetrics()
    for job_id, status in (("job-1", "failed"), ("job-2", "succeeded"), ("job-3", "failed")):
        metrics.add("JobsEnded", 1, client_id="acme", job_id=job_id, status=status)
    assert [(line["job_id"], line["status"]) for line in written(capsys)] == [
        ("job-1", "failed"),
        ("job-2", "succeeded"),
        ("job-3", "failed"),
    ]


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [("Nonsense", {}), ("JobsEnded", {}), ("OwnMs", {"client": "acme"}), ("CostMicros", {})],
)
def test_a_wrong_metric_is_logged_and_harms_no_job(
    name: str,
    dimensions: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    EmbeddedMetrics().add(name, 1, client_id="acme", job_id="job-1", **dimensions)
    assert written(capsys) == []
    assert [(one.message, vars(one)["metric"]) for one in caplog.records] == [
        ("metric not written", name)
    ]


def test_log_lines_name_their_invocation_and_nothing_of_the_one_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")  # which would log prompts

    @inject_lambda_context
    def handler(event: dict[str, Any], _context: Any) -> str:
        if "correlation_id" in event:
            logger().append_keys(correlation_id=event["correlation_id"])
        logger().info("done")
        return "result"

    assert handler({"correlation_id": "one"}, lambda_context()) == "result"
    assert handler({"prompt": "a fox"}, lambda_context()) == "result"
    first, second = written(capsys)
    assert first["function_request_id"] == lambda_context().aws_request_id
    assert first["correlation_id"] == "one"
    assert "correlation_id" not in second
    assert "fox" not in json.dumps(second)
