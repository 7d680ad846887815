"""Starts MiniStack with what its version 1.5.33 leaves out; runs in MiniStack's own environment.

What it gets wrong, and this module corrects:

- When it imports the body of an API, it drops the gateway responses and the responses of mock
  integrations (CORS preflight).
- A gateway response that is not set takes headers and body of DEFAULT_4XX or DEFAULT_5XX, but not
  their status.
- The id of a request in events and gateway responses is not the one of the response, a client
  cannot choose it, and the extended id, which no client can choose, is the same one.
- AWS::LanguageExtensions leaves references to parameters in the template. SAM then sees no change
  and publishes no version when a parameter changes. SAM itself gets no values of parameters, and
  conditions neither split nor join texts.
- It ignores the report of a function that a part of a stream's batch has failed.
- A concurrency that is a parameter of the template arrives as text, which it cannot compare.
- It hides a message of a queue for any time, also a negative one.
- It unpacks all layers again for each process of a function. That takes a second, in which it
  serves no other request.
- It calls the function of an EventBridge rule once. AWS calls it as it does for S3: it tries again,
  and sends what failed to the function's OnFailure.
- It authorizes writes to a log against the log group, and reads of a table's stream against no
  particular stream. AWS authorizes both against the stream.
- It authorizes events without their source and their type, which policies can ask for.
- It loses what a function logs late: see embedded_logs.py.
- Its CloudWatch knows little of what the other services do, and nothing of metric math: see
  embedded_metrics.py.
- It serves plain HTTP, on this machine's loopback only. The TLS-only policies of buckets and queues
  would therefore deny every request.
"""

# ruff: noqa: SLF001 - MiniStack has no public names for what is corrected here

import importlib
import io
import json
import os
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import Any
from uuid import uuid4

from local import embedded_logs, embedded_metrics

_MAX_VISIBILITY = 43_200


def main() -> None:
    """Serve until a signal, at the address and port that MiniStack's own variables name."""
    trust_loopback(importlib.import_module("ministack.core.iam_evaluator"))
    actions = importlib.import_module("ministack.core.iam_actions")
    name_streams(actions)
    describe_events(actions)
    gateway = importlib.import_module("ministack.services.apigateway_v1")
    complete_imports(gateway)
    unescape_media_types(gateway)
    inherit_status(gateway)
    name_requests(gateway)
    write_parameters(importlib.import_module("ministack.services.cloudformation.engine"))
    functions = importlib.import_module("ministack.services.lambda_svc")
    repeat_failed_records(functions)
    read_concurrency(functions)
    cloudwatch = importlib.import_module("ministack.services.cloudwatch")
    embedded_metrics.measure_functions(functions, cloudwatch)
    embedded_metrics.measure_api(gateway, cloudwatch)
    queues = importlib.import_module("ministack.services.sqs")
    limit_visibility(queues)
    embedded_metrics.measure_queues(queues, cloudwatch)
    provisioners = importlib.import_module("ministack.services.cloudformation.provisioners")
    embedded_metrics.evaluate_alarms(provisioners, cloudwatch)
    retry_events(importlib.import_module("ministack.services.eventbridge"), functions)
    runtime = importlib.import_module("ministack.core.lambda_runtime")
    share_layers(runtime, functions)
    embedded_logs.read_to_the_end(runtime)
    importlib.import_module("ministack.app").main()


def write_parameters(engine: Any) -> None:
    """Make AWS::LanguageExtensions write the values of parameters into resources, as on AWS.

    SAM gets the values too, and conditions are given texts that are split and joined.
    """
    apply = engine.language_extensions.apply

    def with_values(template: Mapping[str, Any], parameters: Mapping[str, str]) -> Any:
        applied = apply(template, parameters)
        declared = template.get("Parameters", {})
        values = {
            name: value.split(",") if "List" in declared[name]["Type"] else value
            for name, value in parameters.items()
        }
        # SAM reads the default of a parameter where it is given no value, as in Globals.
        known = {
            name: {**declaration, "Default": parameters[name]}
            for name, declaration in declared.items()
            if name in parameters
        }
        resources = _resolved(applied["Resources"], values)
        conditions = _joined(_resolved(applied.get("Conditions", {}), values))
        written = {"Parameters": {**declared, **known}, "Conditions": conditions}
        return {**applied, **written, "Resources": resources}

    engine.language_extensions.apply = with_values


def _resolved(part: Any, values: Mapping[str, Any]) -> Any:
    """Replace references to parameters by their values."""
    if isinstance(part, list):
        return [_resolved(item, values) for item in part]
    if not isinstance(part, Mapping):
        return part
    if set(part) == {"Ref"} and part["Ref"] in values:
        return values[part["Ref"]]
    return {name: _resolved(item, values) for name, item in part.items()}


def _joined(part: Any) -> Any:
    """Split and join the texts of conditions in which no reference is left."""
    if isinstance(part, list):
        return [_joined(item) for item in part]
    match part:
        case {"Fn::Split": [str() as delimiter, str() as text]}:
            return text.split(delimiter)
        case {"Fn::Join": [str() as delimiter, parts]}:
            texts = _joined(parts)
            return delimiter.join(texts) if isinstance(texts, list) else part
        case Mapping():
            return {name: _joined(item) for name, item in part.items()}
    return part


def complete_imports(gateway: Any) -> None:
    """Store the gateway responses and the mock integrations' responses of an imported API."""
    import_api, import_operation = gateway._import_rest_api, gateway._import_operation

    def api(spec: Mapping[str, Any], *rest: Any) -> str:
        api_id: str = import_api(spec, *rest)
        responses = spec.get("x-amazon-apigateway-gateway-responses") or {}
        for kind, response in responses.items():
            gateway._put_gateway_response(api_id, kind, response)
        return api_id

    def operation(api_id: str, resource_id: str, method: str, spec: Any, *rest: Any) -> None:
        import_operation(api_id, resource_id, method, spec, *rest)
        integration = (spec or {}).get("x-amazon-apigateway-integration") or {}
        for pattern, response in (integration.get("responses") or {}).items():
            chosen_by = {"selectionPattern": "" if pattern == "default" else pattern}
            status = str(response["statusCode"])
            gateway._put_integration_response(
                api_id, resource_id, method, status, {**response, **chosen_by}
            )

    gateway._import_rest_api, gateway._import_operation = api, operation


def unescape_media_types(gateway: Any) -> None:
    """Read `~1` in BinaryMediaTypes as a slash, as CloudFormation does."""
    matches = gateway._media_type_matches

    def matched(media_type: str | None, patterns: Sequence[str] | None) -> bool:
        return bool(matches(media_type, [one.replace("~1", "/") for one in patterns or ()]))

    gateway._media_type_matches = matched


def inherit_status(gateway: Any) -> None:
    """Give a gateway response that is not set the status of its default, as AWS does."""
    in_effect = gateway._gateway_response_for_type

    def inherited(customized: Mapping[str, Any], kind: str) -> dict[str, Any]:
        response: dict[str, Any] = in_effect(customized, kind)
        default = customized.get(gateway._gateway_response_family(kind)) or {}
        if kind in customized or "statusCode" not in default:
            return response
        return response | {"statusCode": default["statusCode"]}

    gateway._gateway_response_for_type = inherited


def name_requests(gateway: Any) -> None:
    """Give each request the two ids that AWS gives it, in its event and in its response.

    A client can choose the first one, by the header of its name.
    """
    handle, build = gateway._handle_execute_in_scope, gateway._build_lambda_event_v1
    render = gateway._gateway_error_response
    current: ContextVar[dict[str, str]] = ContextVar("ids of the request")

    async def handled(
        api: str, stage: str, method: str, path: str, headers: Any, *rest: Any
    ) -> Any:
        chosen = (headers or {}).get("x-amzn-requestid")
        first = chosen if isinstance(chosen, str) else str(uuid4())
        extended = urlsafe_b64encode(os.urandom(11)).decode()
        current.set({"requestId": first, "extendedRequestId": extended})
        status, answered, body = await handle(api, stage, method, path, headers, *rest)
        return status, answered | {"x-amzn-requestid": first, "x-amz-apigw-id": extended}, body

    def built(*arguments: Any, **named: Any) -> Any:
        event = build(*arguments, **named)
        event["requestContext"] |= current.get()
        return event

    def rendered(error: Any, request: Mapping[str, Any]) -> Any:
        ids = current.get({"requestId": request["request_id"], "extendedRequestId": ""})
        status, headers, body = render(error, {**request, "request_id": ids["requestId"]})
        extended = ids["extendedRequestId"].encode()
        return status, headers, body.replace(b"$context.extendedRequestId", extended)

    gateway._handle_execute_in_scope, gateway._build_lambda_event_v1 = handled, built
    gateway._gateway_error_response = rendered


def repeat_failed_records(functions: Any) -> None:
    """Deliver a batch of a table's changes again when a function reports that some of them failed.

    The whole batch is delivered again. AWS would begin with the first change that failed.
    """
    execute = functions._execute_function

    def executed(function: Any, event: Any) -> Any:
        result = execute(function, event)
        match event, result.get("body"):
            case (
                {"Records": [{"eventSource": "aws:dynamodb"}, *_]},
                {"batchItemFailures": [_, *_]},
            ):
                return {**result, "error": True}
        return result

    functions._execute_function = executed


def retry_events(events: Any, functions: Any) -> None:
    """Invoke the function of a rule asynchronously: with its alias's retries and OnFailure."""

    def dispatch(arn: str, payload: str) -> None:
        function, config, _ = functions._get_func_record_for_ref(arn)
        base, _, _ = functions._get_base_func_record_for_ref(arn)
        _, _, qualifier = arn.partition(":function:")[2].partition(":")
        record = functions._execution_record_for_config(function, config)
        record["event_invoke_config"] = base.get("event_invoke_configs", {}).get(qualifier)
        functions.invoke_async_with_retry(record, json.loads(payload))

    events._dispatch_to_lambda = dispatch


def read_concurrency(functions: Any) -> None:
    """Read the maximum concurrency of an event source as a number, as CloudFormation does."""
    concurrency = functions._sqs_esm_concurrency

    def allowed(source: Mapping[str, Any], *rest: Any) -> Any:
        scaling = source.get("ScalingConfig") or {}
        numbers = {name: int(value) for name, value in scaling.items()}
        return concurrency({**source, "ScalingConfig": numbers}, *rest)

    functions._sqs_esm_concurrency = allowed


def limit_visibility(queues: Any) -> None:
    """Refuse to hide a message for a time that SQS refuses."""
    change = queues._HANDLERS["ChangeMessageVisibility"]

    def changed(data: Mapping[str, Any], url: str) -> Any:
        seconds = int(data.get("VisibilityTimeout", 0))
        if not 0 <= seconds <= _MAX_VISIBILITY:
            raise queues._Err("InvalidParameterValue", f"VisibilityTimeout may not be {seconds}.")
        return change(data, url)

    queues._HANDLERS["ChangeMessageVisibility"] = changed


def share_layers(runtime: Any, functions: Any) -> None:
    """Let all processes of functions share one folder for each layer, which is read-only on Lambda.

    The folders are in the temporary directory and are deleted with it.
    """
    spawn, lock = runtime.Worker._spawn, Lock()

    @cache
    def unpacked(layer: bytes) -> str:
        folder = tempfile.mkdtemp(prefix="layer-")
        with zipfile.ZipFile(io.BytesIO(layer)) as file:
            file.extractall(folder)
        return folder

    def spawned(worker: Any) -> None:
        config = worker.config
        with lock:  # in a burst one process unpacks the layer, and the others wait
            folders = [unpacked(functions._resolve_layer_zip(each)) for each in config["Layers"]]
        variables = config.get("Environment", {}).get("Variables", {})
        found = variables | {"_LAMBDA_LAYERS_DIRS": os.pathsep.join(folders)}
        worker.config = config | {"Layers": [], "Environment": {"Variables": found}}
        try:
            spawn(worker)
        finally:
            worker.config = config

    runtime.Worker._spawn = spawned


def name_streams(actions: Any) -> None:
    """Authorize calls against the stream of a log or of a table, as AWS does."""
    resource_arn = actions.extract_resource_arn

    def named(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        arn: str = resource_arn(service, method, path, headers, body, *rest)
        if service == "logs" and ":log-group:" in arn:
            return f"{arn}:log-stream:{json.loads(body).get('logStreamName', '')}"
        if service == "dynamodbstreams":
            return str(json.loads(body).get("StreamArn", arn))
        return arn

    actions.extract_resource_arn = named


def describe_events(actions: Any) -> None:
    """Tell policies the source and the type of an event that is put, as AWS does."""
    request_context = actions.request_tag_context

    def described(service: str, action: str, body: bytes, *rest: Any) -> dict[str, Any]:
        context: dict[str, Any] = request_context(service, action, body, *rest)
        match json.loads(body) if action == "events:PutEvents" else None:
            case {"Entries": [{"Source": source, "DetailType": detail_type}]}:
                context |= {"events:source": source, "events:detail-type": detail_type}
        return context

    actions.request_tag_context = described


def trust_loopback(evaluator: Any) -> None:
    """Treat every request as one over TLS; must be called before MiniStack's app is imported."""
    pin = evaluator.pin_request_origin
    evaluator.pin_request_origin = lambda source_ip, _secure: pin(source_ip, True)


if __name__ == "__main__":
    main()
