"""The deployed API over HTTP: authorization, and the gateway's own responses."""

from collections.abc import Callable

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from local.image import generate
from local.stack import Stack

UNKNOWN = "sd3_" + "x" * 43

OCTOAI_SDKS_HEADERS = {
    *("authorization", "content-type", "user-agent", "x-fern-language", "x-fern-runtime"),
    *("x-fern-runtime-version", "x-fern-sdk-name", "x-fern-sdk-version"),
}
"""What OctoAI's SDKs send, and a browser asks for before it sends anything."""


def error_of(response: requests.Response) -> tuple[int, str]:
    """Status and code of an error, whose shape is checked."""
    body = response.json()
    assert response.headers["Content-Type"] == "application/json"
    known = {"code", "message", "request_id"}
    assert known <= set(body) <= known | {"error"}  # the gateway adds it, for clients of OpenAI
    assert body["request_id"] == response.headers["x-amz-apigw-id"]
    return response.status_code, body["code"]


def test_health_is_open(stack: Stack, http: requests.Session) -> None:
    response = http.get(f"{stack.api_url}/health")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic eA=="}, {"Authorization": "x"}],
)
def test_no_token_is_401(stack: Stack, http: requests.Session, headers: dict[str, str]) -> None:
    response = http.get(f"{stack.api_url}/jobs/x", headers=headers)
    assert error_of(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_an_unknown_token_is_403_on_every_route(stack: Stack, http: requests.Session) -> None:
    http.headers["Authorization"] = f"Bearer {UNKNOWN}"
    assert error_of(http.get(f"{stack.api_url}/jobs/x")) == (403, "forbidden")
    response = http.post(f"{stack.api_url}/generate/sd3", json={"prompt": "x"})
    assert error_of(response) == (403, "forbidden")


def test_one_token_opens_every_route(stack: Stack, client: requests.Session) -> None:
    assert error_of(client.get(f"{stack.api_url}/jobs/nobody")) == (404, "not_found")
    response = client.post(f"{stack.api_url}/generate/sd3", data="{")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("path", ["/", "/nope", "/jobs/x/y", "/generate", "/health/x"])
def test_a_route_that_is_not_there_is_404(
    stack: Stack, client: requests.Session, path: str
) -> None:
    assert error_of(client.get(stack.api_url + path)) == (404, "not_found")


def test_a_method_that_is_not_there_is_404(stack: Stack, client: requests.Session) -> None:
    assert error_of(client.delete(f"{stack.api_url}/health")) == (404, "not_found")


def test_a_page_may_send_a_cors_preflight(stack: Stack, http: requests.Session) -> None:
    response = http.options(
        f"{stack.api_url}/generate/sd3",
        headers={
            "Origin": "https://app.example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ",".join(sorted(OCTOAI_SDKS_HEADERS)),
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert set(allowed) >= OCTOAI_SDKS_HEADERS | {"idempotency-key", "if-none-match", "prefer"}


def test_an_image_is_generated_and_its_link_leads_to_it(
    stack: Stack, new_token: Callable[[], str]
) -> None:
    assert generate(stack.api_url, new_token(), prompt="a lighthouse")


def test_a_bucket_is_not_open_to_the_world(stack: Stack, http: requests.Session) -> None:
    bucket = stack.deployed.outputs()["ImagesBucket"]
    assert http.get(f"{stack.aws['AWS_ENDPOINT_URL']}/{bucket}").status_code == 403


def test_a_function_may_do_only_what_it_needs(stack: Stack) -> None:
    table = stack.deployed.outputs()["ClientsTable"]
    role = stack.deployed.resource("JobsFunctionRole")
    account = stack.deployed.client("sts").get_caller_identity()["Account"]
    session = stack.deployed.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="test"
    )["Credentials"]
    jobs = boto3.client(
        "dynamodb",
        endpoint_url=stack.aws["AWS_ENDPOINT_URL"],
        region_name=stack.aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        jobs.get_item(TableName=table, Key={"token_sha256": {"S": "x"}})
