"""The structured log and the metrics: the one import of Powertools' core in the package."""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, Final, NamedTuple, TypeVar

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

Result = TypeVar("Result")


@cache
def logger() -> Logger:
    """Build the structured log; it never holds tokens, prompts, links or images."""
    return Logger()


def inject_lambda_context(
    handler: Callable[[dict[str, Any], Any], Result],
) -> Callable[[dict[str, Any], Any], Result]:
    """Decorate a handler: each line of the log names its invocation. Events are not logged.

    Powertools' own decorator needs a Logger when the function is imported, and would obey
    POWERTOOLS_LOGGER_LOG_EVENT: the stream's records hold prompts.
    """

    @wraps(handler)
    def handle(event: dict[str, Any], context: Any) -> Result:
        inject = logger().inject_lambda_context(log_event=False, clear_state=True)
        result: Result = inject(handler)(event, context)
        return result

    return handle


class MetricDefinition(NamedTuple):
    """The unit of a metric, and the dimension that it has beside the service's name."""

    unit: MetricUnit = MetricUnit.Count
    dimension: str | None = None


METRICS: Final[Mapping[str, MetricDefinition]] = {
    "JobsEnded": MetricDefinition(dimension="status"),
    "ImagesGenerated": MetricDefinition(),
    "ImagesRemoved": MetricDefinition(),
    "CostMicros": MetricDefinition(dimension="upstream"),
    "UpstreamMs": MetricDefinition(MetricUnit.Milliseconds),
    "OwnMs": MetricDefinition(MetricUnit.Milliseconds),
    "QueueWaitMs": MetricDefinition(MetricUnit.Milliseconds),
    "UpstreamRefused": MetricDefinition(dimension="upstream"),
    "UpstreamUnknownOutcome": MetricDefinition(dimension="upstream"),
    "BudgetRejected": MetricDefinition(),
}
"""All metrics of the namespace; docs/monitoring.md says what each counts, and when."""


class EmbeddedMetrics:
    """Writes metrics to the log, in CloudWatch's embedded metric format.

    A line of that format has one set of dimensions and one set of properties, so each metric gets a
    line of its own. It is written at once: it is there even if the function dies later, and no
    handler has anything to flush. The namespace is POWERTOOLS_METRICS_NAMESPACE.
    """

    def add(
        self, name: str, value: float, *, client_id: str, job_id: str, **dimensions: str
    ) -> None:
        """Write one value of a metric. The ids are properties, which the log can be searched for.

        As dimensions they would make a metric, with a price, of each client and each job. Raises
        KeyError for an unknown metric, and ValueError for dimensions that are not its own.
        """
        definition = METRICS[name]
        if tuple(dimensions) != tuple(filter(None, [definition.dimension])):
            msg = f"{name} has the dimension {definition.dimension}, not {', '.join(dimensions)}"
            raise ValueError(msg)
        with single_metric(name=name, unit=definition.unit, value=value) as metric:
            for dimension, of in dimensions.items():
                metric.add_dimension(name=dimension, value=of)
            metric.add_metadata(key="client_id", value=client_id)
            metric.add_metadata(key="job_id", value=job_id)
