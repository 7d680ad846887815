"""The structured log and the metrics. No other module of the package imports Powertools' core."""

import logging
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, Final, NamedTuple, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

Result = TypeVar("Result")

_logger = logging.getLogger(__name__)


@cache
def logger() -> Logger:
    """Build the structured log, which never contains tokens, prompts, links or images."""
    return Logger()


def inject_lambda_context(
    handler: Callable[[dict[str, Any], Any], Result],
) -> Callable[[dict[str, Any], Any], Result]:
    """Decorate a handler, so that each log line names its invocation. Events are not logged.

    Powertools' own decorator needs a Logger when the function is imported. It would also obey
    POWERTOOLS_LOGGER_LOG_EVENT, and the stream's records contain prompts.
    """

    @wraps(handler)
    def handle(event: dict[str, Any], context: Any) -> Result:
        inject = logger().inject_lambda_context(log_event=False, clear_state=True)
        result: Result = inject(handler)(event, context)
        return result

    return handle


class MetricDefinition(NamedTuple):
    """The unit of a metric, and the dimension that it has besides the service's name.

    A metric with such a dimension is also written without it, as the total that an alarm needs.
    """

    unit: MetricUnit = MetricUnit.Count
    dimension: str | None = None


METRICS: Final[Mapping[str, MetricDefinition]] = {
    "JobsEnded": MetricDefinition(dimension="status"),
    "JobsFailed": MetricDefinition(dimension="code"),
    "ImagesGenerated": MetricDefinition(),
    "ImagesReused": MetricDefinition(),
    "ImagesRemoved": MetricDefinition(),
    "CostMicros": MetricDefinition(dimension="upstream"),
    "UpstreamMs": MetricDefinition(MetricUnit.Milliseconds),
    "OwnMs": MetricDefinition(MetricUnit.Milliseconds),
    "QueueWaitMs": MetricDefinition(MetricUnit.Milliseconds),
    "QueueAgeSeconds": MetricDefinition(MetricUnit.Seconds),
    "BreakerOpenMs": MetricDefinition(MetricUnit.Milliseconds, "upstream"),
    "UpstreamRefused": MetricDefinition(dimension="upstream"),
    "UpstreamUnknownOutcome": MetricDefinition(dimension="upstream"),
    "BudgetRejected": MetricDefinition(),
    "StillRunning": MetricDefinition(),
    "ImagesNotSigned": MetricDefinition(),
    "WebhookDelivered": MetricDefinition(),
    "WebhookFailed": MetricDefinition(),
    "WebhookGivenUp": MetricDefinition(),
    "WebhookDelayMs": MetricDefinition(MetricUnit.Milliseconds),
    "WebhookWaitMs": MetricDefinition(MetricUnit.Milliseconds),
}
"""All metrics of the namespace. docs/monitoring.md says what each of them counts, and when."""


class EmbeddedMetrics:
    """Writes metrics to the log, in CloudWatch's embedded metric format.

    A line of that format has one set of properties for all its metrics, so each metric gets a line
    of its own. The line is written at once. So it is not lost if the function dies later, and
    no handler needs to flush metrics. The namespace is POWERTOOLS_METRICS_NAMESPACE.
    """

    def add(
        self, name: str, value: float, *, client_id: str, job_id: str, **dimensions: str
    ) -> None:
        """Write one value of a metric. The ids are properties, by which the log can be searched.

        As dimensions, they would create a metric with its own price for each client and each job.
        Raises nothing, since no job should be lost for a metric: a bug is logged.
        """
        try:
            self._add(name, value, client_id, job_id, dimensions)
        except Exception:
            _logger.exception("metric not written", extra={"metric": name})

    def _add(
        self, name: str, value: float, client_id: str, job_id: str, dimensions: Mapping[str, str]
    ) -> None:
        definition = METRICS[name]
        if tuple(dimensions) != tuple(filter(None, [definition.dimension])):
            msg = f"{name} has the dimension {definition.dimension}, not {', '.join(dimensions)}"
            raise ValueError(msg)
        line = AmazonCloudWatchEMFProvider()
        line.add_metric(name=name, unit=definition.unit, value=value)
        if dimensions:
            line.add_dimensions(service=str(line.service), **dimensions)
        line.add_metadata(key="client_id", value=client_id)
        line.add_metadata(key="job_id", value=job_id)
        line.flush_metrics()
