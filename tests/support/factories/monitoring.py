"""The alarms of monitoring.yaml, and what they watch of template.yaml."""

from collections.abc import Iterator
from typing import Any

from tests.support.factories.template import Resources, of_type, references, source


def alarms() -> Resources:
    """Return the alarms by their names."""
    return of_type(source("monitoring.yaml")["Resources"], "AWS::CloudWatch::Alarm")


def given() -> dict[str, Any]:
    """Return what template.yaml gives to the parameters of monitoring.yaml."""
    parameters: dict[str, Any] = source()["Resources"]["Monitoring"]["Properties"]["Parameters"]
    return parameters


def watched_resources() -> Iterator[str]:
    """Yield the resources of template.yaml that some alarm watches."""
    for alarm in alarms().values():
        for parameter in references(alarm["Properties"]["Dimensions"]):
            yield from references(given()[parameter])
