"""What the functions of template.yaml wait for, and their own timeouts."""

from typing import Any, Final

import pytest
from botocore.config import Config

from sd3 import bootstrap
from sd3.adapters.aws import AUTHORIZER_TIMEOUT
from tests.support.factories.template import functions, source
from tests.support.privileges import GRANTS

CLIENTS: Final = {
    "dynamodb": "dynamodb",
    "events": "events",
    "s3": "s3",
    "secretsmanager": "secrets",
    "sqs": "sqs",
}
"""The clients of the services that functions call, by the prefix of their actions."""

MAX_PAUSE: Final = 20


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    bootstrap._aws.cache_clear()
    bootstrap.clients.cache_clear()


def configs(function: str) -> dict[str, Any]:
    """Return the configurations of the clients that a function uses, by service."""
    aws = bootstrap._aws()
    if function == "AuthorizerFunction":
        aws = bootstrap._aws(AUTHORIZER_TIMEOUT)
        assert bootstrap.clients()._client is aws.dynamodb
    actions = {action for granted in GRANTS[function].values() for action in granted}
    services = {action.partition(":")[0] for action in actions}
    return {name: getattr(aws, CLIENTS[name]).meta.config for name in services}


def worst_seconds(config: Config) -> float:
    """Return how long a call lasts that no try of it is answered, with the longest pauses.

    A service that answers can ask for a longer pause, by x-amz-retry-after.
    """
    values: Any = config
    tries = values.retries["total_max_attempts"]
    pauses = sum(min(2.0**pause, MAX_PAUSE) for pause in range(tries - 1))
    return float(tries * (values.connect_timeout + values.read_timeout) + pauses)


@pytest.mark.parametrize("function", GRANTS)
def test_a_service_that_is_silent_is_given_up_before_the_function_ends(function: str) -> None:
    default = source()["Globals"]["Function"]["Timeout"]
    timeout = functions()[function]["Properties"].get("Timeout", default)
    worst = {name: worst_seconds(config) for name, config in configs(function).items()}
    assert worst
    assert {name: seconds for name, seconds in worst.items() if seconds >= timeout} == {}
