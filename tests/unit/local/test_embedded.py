"""What is completed in MiniStack, over a stand-in for its gateway."""

import asyncio
import io
import os
import re
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.embedded import (
    complete_imports,
    describe_events,
    inherit_status,
    limit_visibility,
    name_requests,
    name_streams,
    read_concurrency,
    repeat_failed_records,
    retry_events,
    share_layers,
    trust_loopback,
    write_parameters,
)

PREFLIGHT = {
    "x-amazon-apigateway-integration": {
        "type": "mock",
        "responses": {"default": {"statusCode": 200, "responseParameters": {"a": "'b'"}}},
    }
}


class FakeGateway:
    """Imports an API as MiniStack does: operations without responses, no gateway responses."""

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


def test_an_imported_api_has_its_gateway_responses_and_mock_responses() -> None:
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


@pytest.mark.parametrize(
    ("kind", "customized", "status"),
    [
        ("INVALID_SIGNATURE", {"DEFAULT_4XX": {"statusCode": "404"}}, "404"),
        ("INVALID_SIGNATURE", {"DEFAULT_4XX": {}}, "403"),
        ("INVALID_SIGNATURE", {"DEFAULT_5XX": {"statusCode": "500"}}, "403"),
        ("INVALID_SIGNATURE", {}, "403"),
        (
            "INVALID_SIGNATURE",
            {"DEFAULT_4XX": {"statusCode": "404"}, "INVALID_SIGNATURE": {"statusCode": "401"}},
            "401",
        ),
        ("DEFAULT_4XX", {"DEFAULT_4XX": {"statusCode": "404"}}, "404"),
    ],
)
def test_a_gateway_response_that_is_not_set_has_the_status_of_its_default(
    kind: str, customized: dict[str, Any], status: str
) -> None:
    gateway = SimpleNamespace(
        _gateway_response_family=lambda kind: None if kind.startswith("DEFAULT") else "DEFAULT_4XX",
        _gateway_response_for_type=lambda customized, kind: customized.get(
            kind, {"statusCode": "403"}
        ),
    )
    inherit_status(gateway)
    assert gateway._gateway_response_for_type(customized, kind)["statusCode"] == status


@pytest.mark.parametrize("chosen", [None, "mine"])
def test_a_request_has_two_ids_of_which_its_client_chooses_one(chosen: str | None) -> None:
    async def handle(api: str, stage: str, method: str, path: str, headers: Any) -> Any:
        context = gateway._build_lambda_event_v1()["requestContext"]
        status, _, body = gateway._gateway_error_response("error", {"request_id": "another"})
        return status, context, body

    gateway = SimpleNamespace(
        _handle_execute_in_scope=handle,
        _build_lambda_event_v1=lambda: {"requestContext": {"stage": "v1"}},
        _gateway_error_response=lambda _, request: (
            404,
            {},
            f"{request['request_id']} $context.extendedRequestId".encode(),
        ),
    )
    name_requests(gateway)
    sent = {"x-amzn-requestid": chosen} if chosen else None
    _, answered, body = asyncio.run(gateway._handle_execute_in_scope("api", "v1", "GET", "/", sent))
    assert body.decode() == f"{answered['requestId']} {answered['extendedRequestId']}"
    assert answered["x-amzn-requestid"] == answered["requestId"]
    assert answered["x-amz-apigw-id"] == answered["extendedRequestId"]
    assert (answered["requestId"] == "mine") == bool(chosen)
    assert re.fullmatch("[A-Za-z0-9_-]{15}=", answered["extendedRequestId"])


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


def test_a_message_is_hidden_for_a_time_that_sqs_takes() -> None:
    hidden: list[int] = []
    queues = SimpleNamespace(
        _Err=ValueError,
        _HANDLERS={
            "ChangeMessageVisibility": lambda data, _url: hidden.append(data["VisibilityTimeout"])
        },
    )
    limit_visibility(queues)
    change = queues._HANDLERS["ChangeMessageVisibility"]
    for seconds in (0, 43_200):
        change({"VisibilityTimeout": seconds}, "queue")
    for seconds in (-1, 43_201):
        with pytest.raises(ValueError, match="InvalidParameterValue"):
            change({"VisibilityTimeout": seconds}, "queue")
    assert hidden == [0, 43_200]


class FakeWorker:
    """A function's process, which unpacks the layers of its configuration when it starts."""

    def __init__(self, *layers: str, **variables: str) -> None:
        self.config: dict[str, Any] = {
            "Layers": [{"Arn": name} for name in layers],
            "Environment": {"Variables": variables},
        }
        self.started_with: dict[str, Any] = {}

    def _spawn(self) -> None:
        self.started_with = self.config
        if "FAILS" in self.config["Environment"]["Variables"]:
            raise RuntimeError

    def start(self) -> list[Path]:
        """Start the worker, and return the folders of its layers, in their order."""
        self._spawn()
        assert self.started_with["Layers"] == []
        variables = self.started_with["Environment"]["Variables"]
        return [Path(path) for path in variables["_LAMBDA_LAYERS_DIRS"].split(os.pathsep) if path]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeWorker]:
    """Processes of functions that share the layers a and b, unpacked in tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    layers = {name: zipped(f"python/{name}.py") for name in "ab"}
    functions = SimpleNamespace(_resolve_layer_zip=lambda layer: layers[layer["Arn"]])

    class Worker(FakeWorker):
        pass

    share_layers(SimpleNamespace(Worker=Worker), functions)
    return Worker


def zipped(name: str) -> bytes:
    """Make a layer with one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "")
    return buffer.getvalue()


def test_a_layer_is_unpacked_once_for_all_functions(
    worker: type[FakeWorker], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as threads:
        starts = [threads.submit(worker("a", "b").start) for _ in range(4)]
    first, *others = [start.result() for start in starts]
    assert [[*folder.rglob("*.py")] for folder in first] == [
        [folder / f"python/{name}.py"] for folder, name in zip(first, "ab", strict=True)
    ]
    assert others == [first] * 3
    assert worker("b").start() == first[1:]
    assert worker().start() == []
    assert sorted(tmp_path.iterdir()) == sorted(first)


@pytest.mark.parametrize("variables", [{"A": "b"}, {"A": "b", "FAILS": ""}])
def test_a_function_stays_configured(worker: type[FakeWorker], variables: dict[str, str]) -> None:
    started = worker("a", **variables)
    with pytest.raises(RuntimeError) if "FAILS" in variables else nullcontext():
        started.start()
    assert started.started_with["Environment"]["Variables"]["A"] == "b"
    assert started.config == worker("a", **variables).config


@pytest.mark.parametrize(
    ("service", "body", "arn"),
    [
        ("logs", b'{"logGroupName": "g", "logStreamName": "s"}', "a:log-group:g:log-stream:s"),
        ("logs", b'{"logGroupName": "g"}', "a:log-group:g:log-stream:"),
        ("dynamodbstreams", b'{"StreamArn": "stream"}', "stream"),
        ("dynamodbstreams", b'{"ShardIterator": "x"}', "a:log-group:g"),
        ("sqs", b"{}", "a:log-group:g"),
    ],
)
def test_calls_are_authorized_against_their_stream(service: str, body: bytes, arn: str) -> None:
    actions = SimpleNamespace(extract_resource_arn=lambda *_: "a:log-group:g")
    name_streams(actions)
    rest: tuple[dict[str, str], str, str] = ({}, "us-east-1", "000000000000")
    assert actions.extract_resource_arn(service, "POST", "/", {}, body, *rest) == arn


def test_a_call_without_a_log_group_is_authorized_without_a_stream() -> None:
    actions = SimpleNamespace(extract_resource_arn=lambda *_: "*")
    name_streams(actions)
    assert actions.extract_resource_arn("logs", "POST", "/", {}, b"", {}, "", "") == "*"


PUT = b'{"Entries": [{"Source": "sd3.jobs", "DetailType": "Image Job Ended", "Detail": "{}"}]}'


@pytest.mark.parametrize(
    ("action", "body", "told"),
    [
        (
            "events:PutEvents",
            PUT,
            {"events:source": "sd3.jobs", "events:detail-type": "Image Job Ended"},
        ),
        ("events:PutEvents", b'{"Entries": []}', {}),
        ("events:PutRule", PUT, {}),
        ("s3:PutObject", b"\xff\xd8", {}),
    ],
)
def test_policies_can_ask_for_the_source_and_the_type_of_an_event(
    action: str, body: bytes, told: dict[str, str]
) -> None:
    actions = SimpleNamespace(request_tag_context=lambda *_: {"aws:TagKeys": []})
    describe_events(actions)
    context = actions.request_tag_context("events", action, body, {})
    assert context == {"aws:TagKeys": []} | told


def test_values_of_parameters_are_written_into_resources_before_sam_reads_them() -> None:
    extensions = SimpleNamespace(apply=lambda template, _: template)
    write_parameters(SimpleNamespace(language_extensions=extensions))
    name = {"Ref": "Name"}
    template = {
        "Parameters": {"Name": {"Type": "String"}, "Origins": {"Type": "CommaDelimitedList"}},
        "Conditions": {
            "Named": {"Fn::Equals": [name, ""]},
            "Dotted": {"Fn::Equals": [{"Fn::Join": ["", {"Fn::Split": [".", name]}]}, name]},
        },
        "Resources": {
            "Function": {"Properties": {"A": {"Ref": "Name"}, "B": [{"Ref": "Origins"}]}},
            "Other": {"Properties": {"C": {"Ref": "Function"}, "D": {"Ref": "AWS::Region"}}},
        },
    }
    applied = extensions.apply(template, {"Name": "x.y", "Origins": "a,b"})
    assert applied["Conditions"] == {
        "Named": {"Fn::Equals": ["x.y", ""]},
        "Dotted": {"Fn::Equals": ["xy", "x.y"]},
    }
    defaults = {name: one["Default"] for name, one in applied["Parameters"].items()}
    assert defaults == {"Name": "x.y", "Origins": "a,b"}, "what SAM reads"
    assert applied["Resources"] == {
        "Function": {"Properties": {"A": "x.y", "B": [["a", "b"]]}},
        "Other": {"Properties": {"C": {"Ref": "Function"}, "D": {"Ref": "AWS::Region"}}},
    }


@pytest.mark.parametrize(
    ("arn", "config"), [("a:function:f:live", "of live"), ("a:function:f", None)]
)
def test_the_function_of_a_rule_is_tried_again_and_given_up_as_its_alias_says(
    arn: str, config: str | None
) -> None:
    invoked: list[Any] = []
    base = {"event_invoke_configs": {"live": "of live"}}
    functions = SimpleNamespace(
        _get_func_record_for_ref=lambda arn: ({"code": arn}, {}, "f"),
        _get_base_func_record_for_ref=lambda _arn: (base, {}, "f"),
        _execution_record_for_config=lambda function, _config: dict(function),
        invoke_async_with_retry=lambda *arguments: invoked.append(arguments),
    )
    events = SimpleNamespace()
    retry_events(events, functions)
    events._dispatch_to_lambda(arn, '{"source": "aws.s3"}')
    assert invoked == [({"code": arn, "event_invoke_config": config}, {"source": "aws.s3"})]
