"""Starts MiniStack with what its version 1.5.33 leaves out; runs in MiniStack's own environment.

What is completed or changed:

- Importing the body of an API, it drops the gateway responses and the responses of mock
  integrations (CORS preflight).
- A gateway response that is not set takes headers and body of DEFAULT_4XX or DEFAULT_5XX, but not
  their status.
- AWS::LanguageExtensions leaves references to parameters in the template. SAM then sees no change
  and publishes no version when a parameter changes.
- It overlooks it when a function reports that a part of a stream's batch has failed.
- It cannot compare a concurrency that is a parameter of the template, and therefore text.
- It unpacks all layers again for each process of a function. That takes a second, in which it
  answers nobody.
- It asks IAM about the group of a log where AWS asks about a stream of it, and about no particular
  stream of a table.
- It speaks plain HTTP, on this machine's loopback only, and the TLS-only policies of buckets and
  queues would refuse every request.
"""

# ruff: noqa: SLF001 - what is completed here has no public names

import importlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import Any


def main() -> None:
    """Serve until a signal; addresses and ports come from MiniStack's own variables."""
    trust_loopback(importlib.import_module("ministack.core.iam_evaluator"))
    name_streams(importlib.import_module("ministack.core.iam_actions"))
    gateway = importlib.import_module("ministack.services.apigateway_v1")
    complete_imports(gateway)
    inherit_status(gateway)
    write_parameters(importlib.import_module("ministack.services.cloudformation.engine"))
    functions = importlib.import_module("ministack.services.lambda_svc")
    repeat_failed_records(functions)
    read_concurrency(functions)
    share_layers(importlib.import_module("ministack.core.lambda_runtime"), functions)
    importlib.import_module("ministack.app").main()


def write_parameters(engine: Any) -> None:
    """Have AWS::LanguageExtensions write the values of parameters into resources, as in AWS."""
    apply = engine.language_extensions.apply

    def with_values(template: Mapping[str, Any], parameters: Mapping[str, str]) -> Any:
        applied = apply(template, parameters)
        declared = template.get("Parameters", {})
        values = {
            name: value.split(",") if "List" in declared[name]["Type"] else value
            for name, value in parameters.items()
        }
        return {**applied, "Resources": _resolved(applied["Resources"], values)}

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


def complete_imports(gateway: Any) -> None:
    """Have an imported API keep its gateway responses and its mock integrations' answers."""
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
        for pattern, answer in (integration.get("responses") or {}).items():
            chosen_by = {"selectionPattern": "" if pattern == "default" else pattern}
            status = str(answer["statusCode"])
            gateway._put_integration_response(
                api_id, resource_id, method, status, {**answer, **chosen_by}
            )

    gateway._import_rest_api, gateway._import_operation = api, operation


def inherit_status(gateway: Any) -> None:
    """Have a gateway response that is not set take the status of its default, as AWS does."""
    in_effect = gateway._gateway_response_for_type

    def inherited(customized: Mapping[str, Any], kind: str) -> dict[str, Any]:
        response: dict[str, Any] = in_effect(customized, kind)
        default = customized.get(gateway._gateway_response_family(kind)) or {}
        if kind in customized or "statusCode" not in default:
            return response
        return response | {"statusCode": default["statusCode"]}

    gateway._gateway_response_for_type = inherited


def repeat_failed_records(functions: Any) -> None:
    """Have a table's changes come again when a function answers that some of them failed.

    All of the batch comes again, where AWS would begin with the first that failed.
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


def read_concurrency(functions: Any) -> None:
    """Take the greatest concurrency of a queue's reader for a number, as CloudFormation does."""
    concurrency = functions._sqs_esm_concurrency

    def allowed(source: Mapping[str, Any], *rest: Any) -> Any:
        scaling = source.get("ScalingConfig") or {}
        numbers = {name: int(value) for name, value in scaling.items()}
        return concurrency({**source, "ScalingConfig": numbers}, *rest)

    functions._sqs_esm_concurrency = allowed


def share_layers(runtime: Any, functions: Any) -> None:
    """Have all processes of functions read a layer from one folder, as it is read-only on Lambda.

    The folders are in the temporary directory, and end with it.
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
        with lock:  # the first ones of a burst wait, rather than unpack it each
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
    """Ask IAM about the very stream of a log or of a table, as AWS does."""
    resource_arn = actions.extract_resource_arn

    def named(service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
        arn: str = resource_arn(service, method, path, headers, body, *rest)
        if service == "logs" and ":log-group:" in arn:
            return f"{arn}:log-stream:{json.loads(body).get('logStreamName', '')}"
        if service == "dynamodbstreams":
            return str(json.loads(body).get("StreamArn", arn))
        return arn

    actions.extract_resource_arn = named


def trust_loopback(evaluator: Any) -> None:
    """Count every request as one over TLS; to be called before MiniStack's app is imported."""
    pin = evaluator.pin_request_origin
    evaluator.pin_request_origin = lambda source_ip, _secure: pin(source_ip, True)


if __name__ == "__main__":
    main()
