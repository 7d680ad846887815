"""What OctoAI's SDKs do by themselves on every answer, and that an image is still paid once."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
from octoai.core import http_client
from octoai.core.api_error import ApiError

from sd3 import bootstrap
from sd3.errors import UpstreamResponseError
from tests.integration.conftest import Functions, load_event
from tests.support.fakes.ports import FakeUpstream
from tests.support.octoai_sdks import Call, call_typescript, python_client
from tests.support.servers.function_server import FunctionServer
from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Received,
    Reply,
    http_reply,
    raw,
    silent,
)

ERROR: Final = {"code": "a_code", "message": "Why.", "request_id": "r", "job_id": "j", "detail": []}

REPEATED: Final = {409, 429, 500, 502, 503, 504}
"""Of our statuses, those on which the SDK for TypeScript repeats its POST, twice and at once.

The SDK for Python does so only with `max_retries`, and after Retry-After.
"""

FINAL: Final = {400, 401, 402, 403, 404, 410, 413, 415, 422}

STATUSES: Final = sorted({200, 202, 302, 304} | REPEATED | FINAL)


class AnyStatus(MisbehavingServer):
    """Answers with the status that the path begins with, or not at all."""

    def __init__(self) -> None:
        super().__init__(silent)

    def next_reply(self, received: Received) -> Reply:
        super().next_reply(received)
        name = received.path.split("/")[1]
        if not name.isdigit():
            return {"silent": silent, "closed": raw(b"")}[name]
        status = int(name)
        body = ERROR if status >= 400 else {"images": [], "prediction_time_ms": 0}
        return http_reply(
            status,
            b"" if status == 304 else json.dumps(body).encode(),
            retry_after="7" if status in {429, 503, 504} else None,
            location="/200" if status == 302 else None,
        )

    def count(self, name: object) -> int:
        return sum(received.path.startswith(f"/{name}/") for received in self.requests)


@pytest.fixture
def server() -> Iterator[AnyStatus]:
    with AnyStatus() as server:
        yield server


def test_the_sdk_for_typescript_repeats_a_failure_twice_and_names_it(server: AnyStatus) -> None:
    names = [*map(str, STATUSES), "closed", "silent"]
    outcomes = call_typescript(
        [
            Call(f"{server.url}/{name}", {"prompt": "a fox"}, options={"timeoutInSeconds": 5})
            for name in names[:-1]
        ]
        + [Call(f"{server.url}/silent", {"prompt": "a fox"}, options={"timeoutInSeconds": 0.2})]
    )
    seen = dict(zip(names, outcomes, strict=True))
    assert {name: server.count(name) for name in names} == {
        name: 3 if name in {str(status) for status in REPEATED} else 1 for name in names
    }
    for status in FINAL | REPEATED:
        error = seen[str(status)]["error"]
        kind = "UnprocessableEntityError" if status == 422 else "OctoAIError"
        assert (error["kind"], error["status"], error["body"]) == (kind, status, ERROR)
    empty = {"images": [], "predictionTimeMs": 0}
    assert [seen[name]["response"] for name in ("200", "202", "302")] == [empty] * 3
    assert seen["304"]["error"]["kind"] == "ParseError"
    assert seen["closed"]["error"]["kind"] == "OctoAIError"
    assert seen["silent"]["error"]["kind"] == "OctoAITimeoutError"
    asked = server.requests[0].headers
    assert asked["x-fern-sdk-name"] == "@octoai/sdk"


@pytest.mark.parametrize("retries", [0, 2])
def test_the_sdk_for_python_repeats_only_when_told_to(
    server: AnyStatus, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(http_client, "time", SimpleNamespace(sleep=slept.append))
    names = [*map(str, STATUSES), "closed", "silent"]
    seen: dict[str, Any] = {}
    for name in names:
        options: Any = {"max_retries": retries, "timeout_in_seconds": 5}
        if name == "silent":
            options["timeout_in_seconds"] = 0.2
        with httpx.Client(trust_env=False, follow_redirects=True) as connection:
            sdk = python_client(f"{server.url}/{name}", "token", connection).image_gen
            try:
                seen[name] = sdk.generate_sd3(prompt="a fox", request_options=options)
            except Exception as caught:  # noqa: BLE001 - whichever it is, is what is asked
                seen[name] = caught
    assert {name: server.count(name) for name in names} == {
        name: 1 + retries if name in {str(status) for status in REPEATED} else 1 for name in names
    }
    for status in FINAL | REPEATED:
        failure = seen[str(status)]
        assert isinstance(failure, ApiError)
        assert failure.status_code == status
        assert status == 422 or failure.body == ERROR
    assert [seen[name].images for name in ("200", "202", "302")] == [[], [], []]
    assert isinstance(seen["304"], ApiError)
    assert isinstance(seen["closed"], httpx.RemoteProtocolError)
    assert isinstance(seen["silent"], httpx.ReadTimeout)
    assert slept.count(7) == 3 * retries
    assert len(slept) == len(REPEATED) * retries


def generate_event(received: Received) -> dict[str, Any]:
    return load_event("generate") | {"body": received.body.decode()}


@pytest.fixture
def service(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[FunctionServer]:
    worked_at = getattr(request, "param", 1e9)
    with FunctionServer(functions.generate, generate_event, worked_at=worked_at) as service:
        clock = service.time.time()._replace(sleep=service.sleep)
        monkeypatch.setattr(bootstrap, "clock", lambda: clock)
        yield service


def job_ids(aws: Any) -> set[str]:
    items = aws.dynamodb.scan(TableName="jobs")["Items"]
    return {item["id"]["S"] for item in items if "document" in item}


@pytest.mark.parametrize("service", [40], indirect=True)
def test_the_sdk_for_typescript_repeats_a_504_and_the_images_are_paid_once(
    service: FunctionServer, upstream: FakeUpstream, aws: Any
) -> None:
    [outcome] = call_typescript([Call(service.url, {"prompt": "a fox", "numImages": 8})])
    assert len(service.requests) == 2
    assert len(outcome["response"]["images"]) == 8
    assert all(image["imageB64"] for image in outcome["response"]["images"])
    assert (len(upstream.calls), job_ids(aws)) == (1, {"call-1"})


def test_the_sdk_for_typescript_gives_up_with_the_id_of_the_one_job(
    service: FunctionServer, aws: Any
) -> None:
    [outcome] = call_typescript([Call(service.url, {"prompt": "a fox", "numImages": 8})])
    assert (len(service.requests), service.time.slept) == (3, 3 * 26)
    error = outcome["error"]
    assert (error["status"], error["body"]["code"]) == (504, "still_running")
    assert {error["body"]["job_id"]} == job_ids(aws) == {"call-1"}


@pytest.mark.parametrize("service", [40], indirect=True)
def test_the_sdk_for_python_repeats_a_504_and_the_images_are_paid_once(
    service: FunctionServer, upstream: FakeUpstream, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "time", SimpleNamespace(sleep=service.sleep))
    with httpx.Client(trust_env=False) as connection:
        sdk = python_client(service.url, "token", connection).image_gen
        options: Any = {"max_retries": 2}
        generated = sdk.generate_sd3(prompt="a fox", num_images=8, request_options=options)
    assert len(generated.images) == 8
    assert all(image.image_b64 for image in generated.images)
    assert (len(upstream.calls), job_ids(aws)) == (1, {"call-1"})


def test_a_failure_that_may_have_been_charged_is_not_generated_again_by_an_sdk(
    service: FunctionServer, upstream: FakeUpstream
) -> None:
    upstream.errors = [UpstreamResponseError("cut off")]
    [outcome] = call_typescript([Call(service.url, {"prompt": "a fox"})])
    assert len(service.requests) == 3
    assert (outcome["error"]["status"], outcome["error"]["body"]["job_id"]) == (502, "call-1")
    assert len(upstream.calls) == 1
