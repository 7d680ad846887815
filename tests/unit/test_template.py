"""What must hold for template.yaml, whichever resources it comes to have, as SAM translates it."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from graphlib import TopologicalSorter
from typing import Any

import pytest

from sd3.settings import Settings
from sd3.upstreams import UPSTREAMS
from sd3.upstreams.stability import PRICES
from tests.unit.translated_template import (
    ROOT,
    Resources,
    api_body,
    functions,
    of_type,
    references,
    source,
    translated,
)

NOT_OURS = {
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_LOG_LEVEL",
    "LOG_LEVEL",
}
"""Variables that libraries read."""

OF_ONE_OWNER = re.compile(r"(\$\{\w+\.Arn\}|arn:\$\{AWS::Partition\}:s3:::[^*/]+)/.+")
"""Objects of one bucket, streams of one table: only their names may have a wildcard."""

GATEWAY_RESPONSES = {
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "RESOURCE_NOT_FOUND",
    "UNAUTHORIZED",
    "INVALID_API_KEY",
    "ACCESS_DENIED",
    "AUTHORIZER_FAILURE",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "INVALID_SIGNATURE",
    "EXPIRED_TOKEN",
    "MISSING_AUTHENTICATION_TOKEN",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "API_CONFIGURATION_ERROR",
    "UNSUPPORTED_MEDIA_TYPE",
    "BAD_REQUEST_PARAMETERS",
    "BAD_REQUEST_BODY",
    "REQUEST_TOO_LARGE",
    "THROTTLED",
    "QUOTA_EXCEEDED",
    "WAF_FILTERED",
}
"""Every type that API Gateway has for REST APIs."""


def cycle_free(resources: Resources) -> list[str]:
    """The resources in an order of creation; raises CycleError when there is none."""
    graph = {}
    for name, resource in resources.items():
        after = resource.get("DependsOn", [])
        explicit = {after} if isinstance(after, str) else set(after)
        graph[name] = (explicit | set(references(resource.get("Properties", {})))) & set(resources)
    return list(TopologicalSorter(graph).static_order())


def test_the_resources_can_be_created_in_some_order() -> None:
    assert len(cycle_free(translated())) == len(translated()) > len(source()["Resources"])


def test_a_cycle_would_be_found() -> None:
    bucket = {"Properties": {"To": {"Fn::GetAtt": ["Function", "Arn"]}}}
    function = {"Properties": {"Name": {"Fn::Sub": "${Bucket}-x"}}}
    with pytest.raises(ValueError, match="cycle"):
        cycle_free({"Bucket": bucket, "Function": function})


def test_every_function_folder_is_deployed() -> None:
    folders = {f"functions/{app.parent.name}" for app in ROOT.glob("functions/*/app.py")}
    assert {f["Properties"]["CodeUri"] for f in functions().values()} == folders


def test_every_environment_name_is_known() -> None:
    known = {field.name.upper() for field in fields(Settings)} | NOT_OURS
    for function in of_type(translated(), "AWS::Lambda::Function").values():
        assert set(function["Properties"]["Environment"]["Variables"]) <= known


def test_every_function_can_write_metrics() -> None:
    for function in of_type(translated(), "AWS::Lambda::Function").values():
        variables = function["Properties"]["Environment"]["Variables"]
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "sd3"


def test_layers_are_attached_for_all_functions_at_once() -> None:
    layers = of_type(source()["Resources"], "AWS::Serverless::LayerVersion")
    attached = source()["Globals"]["Function"]["Layers"]
    assert [layer["Ref"] for layer in attached] == list(layers)
    assert not any("Layers" in f["Properties"] for f in functions().values())


def too_wide(statement: dict[str, Any]) -> bool:
    """Whether an Allow names all of a service's actions, or resources of no one in particular."""
    if statement["Effect"] != "Allow" or "sts:AssumeRole" in str(statement["Action"]):
        return False
    actions, resources = (
        value if isinstance(value, list) else [value]
        for value in (statement["Action"], statement["Resource"])
    )
    literal = [str(r.get("Fn::Sub", "") if isinstance(r, dict) else r) for r in resources]
    return any("*" in action for action in actions) or any(
        "*" in text and not OF_ONE_OWNER.fullmatch(text) for text in literal
    )


def statements() -> Iterator[dict[str, Any]]:
    def within(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value:
                yield value
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from within(item)

    yield from within(translated())


def test_no_policy_allows_more_than_it_names() -> None:
    allowed = [s for s in statements() if s["Effect"] == "Allow"]
    assert len(allowed) > len(functions())
    assert not [s for s in allowed if too_wide(s)]


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:*", "arn:x"),
        ("s3:GetObject", "*"),
        (["s3:Get*"], ["arn:x"]),
        ("a:b", "arn:aws:s3:::*"),
        ("a:b", {"Fn::Sub": "arn:aws:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"}),
    ],
)
def test_a_wide_policy_would_be_found(action: Any, resource: Any) -> None:
    assert too_wide({"Effect": "Allow", "Action": action, "Resource": resource})


def test_no_managed_policy_is_attached_beyond_logging() -> None:
    attached = {
        str(arn.get("Fn::Sub") if isinstance(arn, dict) else arn).rpartition("/")[2]
        for role in of_type(translated(), "AWS::IAM::Role").values()
        for arn in role["Properties"].get("ManagedPolicyArns", [])
    }
    assert attached == {"AWSLambdaBasicExecutionRole", "AmazonAPIGatewayPushToCloudWatchLogs"}


def test_every_gateway_response_has_the_shape_of_our_errors() -> None:
    responses = api_body()["x-amazon-apigateway-gateway-responses"]
    assert set(responses) == GATEWAY_RESPONSES
    for kind, response in responses.items():
        assert set(response["responseTemplates"]) == {"application/json"}
        body = json.loads(response["responseTemplates"]["application/json"])
        assert {"code", "message", "request_id"} <= set(body) <= {
            "code", "message", "request_id", "job_id", "detail"
        }, kind  # fmt: skip
        assert body["request_id"] == "$context.requestId"
        assert re.fullmatch(r"[1-5]\d\d", response["statusCode"])
        assert (
            "gatewayresponse.header.Access-Control-Allow-Origin" in response["responseParameters"]
        )


def test_a_gateway_timeout_names_the_job_that_runs_on() -> None:
    response = api_body()["x-amazon-apigateway-gateway-responses"]["INTEGRATION_TIMEOUT"]
    body = json.loads(response["responseTemplates"]["application/json"])
    assert (response["statusCode"], body["code"]) == ("504", "still_running")
    assert body["job_id"] == "$context.requestId"


def test_every_route_but_what_describes_the_service_asks_for_a_token() -> None:
    open_routes = {
        (method, path)
        for path, item in api_body()["paths"].items()
        for method, operation in item.items()
        if operation.get("security") != [{"ClientToken": []}]
    }
    assert {path for method, path in open_routes if method != "options"} == {
        "/health", "/openapi.json", "/docs", "/docs/{file}"
    }  # fmt: skip


def test_generate_outlives_the_gateway() -> None:
    generate = functions()["GenerateFunction"]["Properties"]
    assert generate["Timeout"] > 29


def validation(expression: dict[str, Any], *, has_issuer: bool) -> re.Pattern[str]:
    """What a token must look like, with an issuer of JWTs or without."""
    condition, with_issuer, without = expression["Fn::If"]
    assert condition == "HasJwtIssuer"
    return re.compile(with_issuer if has_issuer else without)


@pytest.mark.parametrize(
    ("header", "alone", "with_issuer"),
    [
        ("Bearer sd3_" + "x" * 43, True, True),
        ("bearer sd3_" + "-_0aZ" * 8 + "abc", True, True),
        ("Bearer sd3_" + "x" * 42, False, False),
        ("Bearer e30.e30.a-_Z0", False, True),
        ("Bearer e30.e30.", False, False),
        ("Bearer e30.e30", False, False),
        ("Bearer e30xe30xe30", False, False),
        ("Bearer a.b.c.d", False, False),
        ("Bearer a.b.c d", False, False),
        ("Basic e30.e30.e30", False, False),
    ],
)
def test_jwts_are_looked_at_only_when_there_is_an_issuer(
    header: str, alone: bool, with_issuer: bool
) -> None:
    schemes = api_body()["components"]["securitySchemes"]
    authorizer = schemes["ClientToken"]["x-amazon-apigateway-authorizer"]
    expression = authorizer["identityValidationExpression"]
    for has_issuer, matches in ((False, alone), (True, with_issuer)):
        pattern = validation(expression, has_issuer=has_issuer)
        assert bool(pattern.fullmatch(header)) == matches


def test_a_token_that_ends_is_let_in_for_a_minute_at_most() -> None:
    schemes = api_body()["components"]["securitySchemes"]
    authorizer = schemes["ClientToken"]["x-amazon-apigateway-authorizer"]
    assert authorizer["authorizerResultTtlInSeconds"] == 60


def test_only_the_authorizer_knows_the_issuer() -> None:
    knowing = {
        name
        for name, function in functions().items()
        if "JWT_ISSUER" in function["Properties"]["Environment"]["Variables"]
    }
    assert knowing == {"AuthorizerFunction"}


def test_the_upstreams_that_may_be_chosen_are_those_that_there_are() -> None:
    pattern = source()["Parameters"]["Upstream"]["AllowedPattern"]
    for order in (*UPSTREAMS, ",".join(UPSTREAMS)):
        assert re.fullmatch(pattern, order)
    assert set(re.findall("[a-z]+", pattern)) == set(UPSTREAMS)
    for wrong in ("", "dalle", "octoai,", ",octoai", "octoai, bedrock"):
        assert not re.fullmatch(pattern, wrong)


def test_stabilitys_models_are_those_with_a_price() -> None:
    assert set(source()["Parameters"]["StabilityModel"]["AllowedValues"]) == set(PRICES)
