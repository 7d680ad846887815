"""What is completed in MiniStack, over a stand-in for its gateway."""

from types import SimpleNamespace
from typing import Any

import pytest

from local.embedded import (
    complete_imports,
    read_concurrency,
    repeat_failed_records,
    trust_loopback,
)

PREFLIGHT = {
    "x-amazon-apigateway-integration": {
        "type": "mock",
        "responses": {"default": {"statusCode": 200, "responseParameters": {"a": "'b'"}}},
    }
}


class FakeGateway:
    """Imports an API as MiniStack does: operations without answers, no gateway responses."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def _import_rest_api(self, spec: dict[str, Any], _base: Any = None) -> str:
        for path, operation in spec["paths"].items():
            self._import_operation("api", path, "OPTIONS", operation, {}, None)
        return "api"

    def _import_operation(self, *arguments: Any) -> None:
        self.calls.append(("operation", arguments[1]))

    def _put_gateway_response(self, *arguments: Any) -> None:
        self.calls.append(("gateway response", *arguments))

    def _put_integration_response(self, *arguments: Any) -> None:
        self.calls.append(("answer", *arguments))


def test_an_imported_api_keeps_its_gateway_responses_and_answers() -> None:
    gateway = FakeGateway()
    complete_imports(gateway)
    spec = {
        "paths": {"/a": PREFLIGHT, "/b": None},
        "x-amazon-apigateway-gateway-responses": {"THROTTLED": {"statusCode": "429"}},
    }
    assert gateway._import_rest_api(spec, {}) == "api"
    assert gateway.calls == [
        ("operation", "/a"),
        (
            *("answer", "api", "/a", "OPTIONS", "200"),
            {"statusCode": 200, "responseParameters": {"a": "'b'"}, "selectionPattern": ""},
        ),
        ("operation", "/b"),
        ("gateway response", "api", "THROTTLED", {"statusCode": "429"}),
    ]


def test_a_request_over_loopback_counts_as_one_over_tls() -> None:
    pinned: list[tuple[str, bool]] = []
    evaluator = SimpleNamespace(pin_request_origin=lambda *origin: pinned.append(origin))
    trust_loopback(evaluator)
    evaluator.pin_request_origin("127.0.0.1", False)
    assert pinned == [("127.0.0.1", True)]


FAILED = {"batchItemFailures": [{"itemIdentifier": "1"}]}


@pytest.mark.parametrize(
    ("event", "body", "again"),
    [
        ({"Records": [{"eventSource": "aws:dynamodb"}]}, FAILED, True),
        ({"Records": [{"eventSource": "aws:dynamodb"}]}, {"batchItemFailures": []}, False),
        ({"Records": [{"eventSource": "aws:dynamodb"}]}, None, False),
        ({"Records": [{"eventSource": "aws:sqs"}]}, FAILED, False),
        ({}, FAILED, False),
    ],
)
def test_changes_that_failed_come_again(event: Any, body: Any, again: bool) -> None:
    functions = SimpleNamespace(_execute_function=lambda _function, _event: {"body": body})
    repeat_failed_records(functions)
    assert functions._execute_function({}, event).get("error", False) is again


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ({"ScalingConfig": {"MaximumConcurrency": "10"}}, 10),
        ({"ScalingConfig": {"MaximumConcurrency": 2}}, 2),
        ({"ScalingConfig": None}, None),
        ({}, None),
    ],
)
def test_a_concurrency_of_the_templates_parameters_is_a_number(source: Any, allowed: Any) -> None:
    def concurrency(source: Any, _queue: Any) -> Any:
        return source["ScalingConfig"].get("MaximumConcurrency")

    functions = SimpleNamespace(_sqs_esm_concurrency=concurrency)
    read_concurrency(functions)
    assert functions._sqs_esm_concurrency(source, {}) == allowed
