"""The gateway's own responses: its errors, and its checks of tokens, in template.yaml."""

import json
import re
from typing import Any, Final

import pytest

from ops.clients import MAX_PER_MINUTE
from sd3.api.app import EXPOSED_HEADERS
from tests.support.factories.conditions import conditions
from tests.support.factories.template import (
    api_body,
    of_type,
    references,
    source,
    translated,
)

GATEWAY_RESPONSES: Final = {
    "DEFAULT_4XX": (400, 404, "not_found"),
    "RESOURCE_NOT_FOUND": (404, 404, "not_found"),
    "MISSING_AUTHENTICATION_TOKEN": (403, 404, "not_found"),
    "INVALID_SIGNATURE": (403, 404, "not_found"),
    "EXPIRED_TOKEN": (403, 404, "not_found"),
    "UNAUTHORIZED": (401, 401, "unauthorized"),
    "ACCESS_DENIED": (403, 403, "forbidden"),
    "INVALID_API_KEY": (403, 403, "forbidden"),
    "WAF_FILTERED": (403, 403, "forbidden"),
    "BAD_REQUEST_BODY": (400, 400, "invalid_json"),
    "BAD_REQUEST_PARAMETERS": (400, 422, "validation_error"),
    "REQUEST_TOO_LARGE": (413, 413, "too_large"),
    "UNSUPPORTED_MEDIA_TYPE": (415, 415, "unsupported_media_type"),
    "THROTTLED": (429, 429, "rate_limited"),
    "QUOTA_EXCEEDED": (429, 429, "rate_limited"),
    "DEFAULT_5XX": (500, 500, "internal_error"),
    "API_CONFIGURATION_ERROR": (500, 500, "internal_error"),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, 500, "internal_error"),
    "AUTHORIZER_FAILURE": (500, 500, "internal_error"),
    "INTEGRATION_FAILURE": (504, 500, "internal_error"),
    "INTEGRATION_TIMEOUT": (504, 504, "still_running"),
}
"""Every type that API Gateway has for REST APIs: its own status, ours and the code of our error."""


WITHOUT_QUOTES: Final = {
    f"$context.{name}"
    for name in (
        *("extendedRequestId", "requestTime", "httpMethod", "resourcePath", "status"),
        *("responseLatency", "integrationLatency", "responseLength", "error.responseType"),
        *("authorizer.client_id", "authorizer.client_name"),  # ours, made of a few characters
    )
}
"""Variables in which no client can write a quotation mark. The gateway escapes none in a template.
`$context.requestId`, of the header X-Amzn-RequestId, and `$context.path` are not among them."""


def in_effect(kind: str) -> dict[str, Any]:
    """Return the response of a type, or of its default with its status."""
    responses = api_body()["x-amazon-apigateway-gateway-responses"]
    own_status, _, _ = GATEWAY_RESPONSES[kind]
    response: dict[str, Any] = responses.get(kind, responses[f"DEFAULT_{own_status // 100}XX"])
    return response


def test_no_gateway_response_is_of_a_type_that_does_not_exist() -> None:
    assert set(api_body()["x-amazon-apigateway-gateway-responses"]) <= set(GATEWAY_RESPONSES)


@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
def test_every_gateway_response_has_the_shape_of_our_errors(kind: str) -> None:
    response = in_effect(kind)
    assert set(response["responseTemplates"]) == {"application/json"}
    body = json.loads(response["responseTemplates"]["application/json"])
    known = {"code", "message", "request_id", "error"}
    assert known <= set(body) <= known | {"job_id", "detail"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == body["message"]
    assert body["request_id"] == "$context.extendedRequestId"
    assert "gatewayresponse.header.Access-Control-Allow-Origin" in response["responseParameters"]


@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
def test_every_gateway_response_has_the_status_and_code_of_its_error(kind: str) -> None:
    response = in_effect(kind)
    body = json.loads(response["responseTemplates"]["application/json"])
    _, status, code = GATEWAY_RESPONSES[kind]
    assert (response["statusCode"], body["code"]) == (str(status), code)


def test_a_gateway_response_repeats_no_default() -> None:
    responses = api_body()["x-amazon-apigateway-gateway-responses"]
    for default in ("DEFAULT_4XX", "DEFAULT_5XX"):
        same = {kind for kind, response in responses.items() if response == responses[default]}
        assert same == {default}


@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
def test_an_error_that_passes_has_a_retry_after(kind: str) -> None:
    """A function that Lambda throttles is a 5XX: AWS does not document of which type."""
    _, status, _ = GATEWAY_RESPONSES[kind]
    seconds = {429: "'1'", 500: "'5'", 504: "'1'"}.get(status)
    headers = in_effect(kind)["responseParameters"]
    assert headers.get("gatewayresponse.header.Retry-After") == seconds


def test_nothing_that_a_client_chooses_is_written_into_json_unescaped() -> None:
    [stage] = of_type(translated(), "AWS::ApiGateway::Stage").values()
    templates = [
        response["responseTemplates"]["application/json"]
        for response in api_body()["x-amazon-apigateway-gateway-responses"].values()
    ]
    used = re.findall(r"\$context[.][A-Za-z_.]+", json.dumps([templates, stage]))
    assert set(used) <= WITHOUT_QUOTES


def test_a_gateway_timeout_names_the_job_that_runs_on() -> None:
    response = api_body()["x-amazon-apigateway-gateway-responses"]["INTEGRATION_TIMEOUT"]
    body = json.loads(response["responseTemplates"]["application/json"])
    assert (response["statusCode"], body["code"]) == ("504", "still_running")
    assert body["job_id"] == "$context.extendedRequestId"


def test_pages_may_read_the_same_headers_of_the_gateway_and_of_the_functions() -> None:
    for kind in GATEWAY_RESPONSES:
        parameters = in_effect(kind)["responseParameters"]
        exposed = parameters["gatewayresponse.header.Access-Control-Expose-Headers"]
        assert exposed.strip("'").split(",") == list(EXPOSED_HEADERS)


def test_api_gateway_can_parse_all_of_the_body() -> None:
    """SAM writes `schema: {schema: ...}` for preflight, where it is asked for OpenAPI 3."""
    preflight = [item["options"]["responses"] for item in api_body()["paths"].values()]
    headers = [header for each in preflight for header in each["200"]["headers"].values()]
    assert headers
    assert all(set(header) == {"type"} for header in headers)
    assert list(of_type(translated(), "AWS::ApiGateway::Stage")) == ["Apiv1Stage"]


def test_a_change_of_parameters_alone_reaches_the_stage() -> None:
    """The stage serves a deployment, which SAM makes anew only for another body or if told to."""
    assert source()["Resources"]["Api"]["Properties"]["AlwaysDeploy"] is True


def test_every_route_requires_a_token_but_those_that_describe_the_service() -> None:
    open_routes = {
        (method, path)
        for path, item in api_body()["paths"].items()
        for method, operation in item.items()
        if operation.get("security") != [{"ClientToken": []}]
    }
    assert {path for method, path in open_routes if method != "options"} == {
        "/health", "/openapi.json", "/docs", "/docs/{file}", "/playground"
    }  # fmt: skip


def validation(expression: dict[str, Any], *, has_issuer: bool) -> re.Pattern[str]:
    """Return the pattern of a token, with an issuer of JWTs or without."""
    condition, with_issuer, without = expression["Fn::If"]
    assert condition == "HasJwtIssuer"
    return re.compile(with_issuer if has_issuer else without)


@pytest.mark.parametrize(
    ("header", "alone", "with_issuer"),
    [
        ("Bearer sd3_" + "x" * 43, True, True),
        ("bearer sd3_" + "-_0aZ" * 8 + "abc", True, True),
        ("BEARER sd3_" + "x" * 43, True, True),
        ("bEaReR    sd3_" + "x" * 43, True, True),
        ("BEARER   e30.e30.e30", False, True),
        ("Bearer\tsd3_" + "x" * 43, False, False),
        ("Bearer \te30.e30.e30", False, False),
        ("Bearersd3_" + "x" * 43, False, False),
        ("Bearer\u00a0e30.e30.e30", False, False),
        ("Bearer, Bearer e30.e30.e30", False, False),
        ("x Bearer sd3_" + "x" * 43, False, False),
        ("Bearer sd3_" + "x" * 44, False, False),
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
    schemes = api_body()["securityDefinitions"]
    authorizer = schemes["ClientToken"]["x-amazon-apigateway-authorizer"]
    expression = authorizer["identityValidationExpression"]
    for has_issuer, matches in ((False, alone), (True, with_issuer)):
        pattern = validation(expression, has_issuer=has_issuer)
        # AWS does not say whether it looks for the whole text, so both are the same.
        assert bool(pattern.fullmatch(header)) == bool(pattern.search(header)) == matches


def throttles() -> dict[tuple[str, str], tuple[float, int]]:
    """Return rate and burst by method and path, as the body has them; "*" is all others."""
    [stage] = of_type(translated(), "AWS::ApiGateway::Stage").values()
    return {
        (each["HttpMethod"].lower(), each["ResourcePath"].removeprefix("/").replace("~1", "/")): (
            each["ThrottlingRateLimit"],
            each["ThrottlingBurstLimit"],
        )
        for each in stage["Properties"]["MethodSettings"]
    }


def test_a_throttle_of_one_method_is_for_a_method_that_there_is_and_stricter() -> None:
    """AWS takes settings for methods that there are not, and counts every method by itself."""
    of_all = throttles()["*", "*"]
    single = {key: limits for key, limits in throttles().items() if key != ("*", "*")}
    paths = api_body()["paths"]
    assert single.keys() <= {(method, path) for path in paths for method in paths[path]}
    assert all(rate < of_all[0] and burst < of_all[1] for rate, burst in single.values())


def test_what_needs_no_token_or_holds_a_function_has_a_throttle_of_its_own() -> None:
    open_routes = {
        (method, path)
        for path, item in api_body()["paths"].items()
        for method, operation in item.items()
        if operation.get("security") != [{"ClientToken": []}] and method != "options"
    }
    assert throttles().keys() >= open_routes | {
        ("get", "/jobs/{id}"),
        ("post", "/uploads"),
        ("post", "/verify"),
    }


def test_the_largest_rate_of_a_client_is_what_the_stage_lets_through_of_one_method() -> None:
    per_second, _ = throttles()["*", "*"]
    assert per_second * 60 == MAX_PER_MINUTE


def test_the_api_takes_no_tls_before_1_2() -> None:
    [api] = of_type(translated(), "AWS::ApiGateway::RestApi").values()
    assert api["Properties"]["SecurityPolicy"].startswith("SecurityPolicy_TLS13_1_2_")
    # API Gateway refuses such a policy without a mode.
    assert api["Properties"]["EndpointAccessMode"] == "BASIC"


def test_a_web_acl_is_in_front_of_the_stage_if_there_is_one() -> None:
    [(_, association)] = of_type(translated(), "AWS::WAFv2::WebACLAssociation").items()
    assert association["Condition"] in conditions(WebAclArn="arn") - conditions()
    [stage] = of_type(translated(), "AWS::ApiGateway::Stage")
    assert stage in references(association["Properties"]["ResourceArn"])


def test_the_access_log_names_the_client_and_no_token() -> None:
    [stage] = of_type(translated(), "AWS::ApiGateway::Stage").values()
    line = json.loads(stage["Properties"]["AccessLogSetting"]["Format"])
    assert line["client_id"] == "$context.authorizer.client_id"
    assert line["client_name"] == "$context.authorizer.client_name"
    assert not re.search("header|token|query", json.dumps(line), re.IGNORECASE)


def test_a_token_that_ends_is_accepted_for_a_minute_at_most() -> None:
    schemes = api_body()["securityDefinitions"]
    authorizer = schemes["ClientToken"]["x-amazon-apigateway-authorizer"]
    assert authorizer["authorizerResultTtlInSeconds"] == 60
