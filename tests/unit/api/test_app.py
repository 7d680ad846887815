"""What is the same for all routes: routing, CORS and error responses."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sd3.api import app as api
from sd3.api.app import Response, RestApi
from sd3.api.request import Request

JOB = Path(__file__).parents[3] / "events" / "job.json"
EXPOSED = "Location, Retry-After, ETag, Preference-Applied"

Event = dict[str, Any]


@pytest.fixture(autouse=True)
def _settings_read_anew() -> Iterator[None]:
    yield
    api._allowed_origins.cache_clear()


def job_event(**changes: Any) -> Event:
    """Return the sample event of GET /jobs/{id}."""
    event: Event = json.loads(JOB.read_text())
    return event | changes


def resolve(event: Event) -> Event:
    """Call an API that echoes the id of its only route."""
    echo = RestApi()

    @echo.get("/jobs/<id>")
    def job(request: Request, id: str) -> Response:
        return Response(200, f"{id} in {request.seconds} s")

    context = SimpleNamespace(
        function_name="sd3",
        memory_limit_in_mb=512,
        invoked_function_arn="arn",
        aws_request_id="1",
        get_remaining_time_in_millis=lambda: 29_000,
    )
    return echo.resolve(event, context)  # type: ignore[arg-type] # as much of it as is read


@pytest.mark.parametrize("path", ["/jobs/7", "/v1/jobs/7", "/images/api/jobs/7", "/jobs/7/", "/"])
def test_the_gateways_choice_of_a_route_counts_whatever_is_in_front_of_the_path(path: str) -> None:
    response = resolve(job_event(path=path, pathParameters={"id": "7"}))
    assert (response["statusCode"], response["body"]) == (200, "7 in 29.0 s")


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "..",
        "%2F",
        "a/b",
        "a b",
        "a.b",
        "a#b",
        "a?b",
        '"',
        "<id>",
        "{id}",
        "\x00",
        "ä",
        "x" * 128,
    ],
)
def test_a_route_is_given_its_parameter_as_the_gateway_read_it(job_id: str) -> None:
    response = resolve(job_event(path=f"/jobs/{job_id}", pathParameters={"id": job_id}))
    assert response["body"] == f"{job_id} in 29.0 s"


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": "/jobs"},
        {"resource": "/jobs/{other}"},
        {"resource": "/jobs/{id}/"},
        {"resource": "/{proxy+}"},
        {"httpMethod": "HEAD"},
        {"httpMethod": "POST"},
    ],
)
def test_what_is_no_route_is_a_404_in_the_documented_shape(changes: Event) -> None:
    event = job_event(**changes)
    response = resolve(event)
    assert response["statusCode"] == 404
    assert response["multiValueHeaders"] == {"Content-Type": ["application/json"]}
    assert json.loads(response["body"]) == {
        "code": "not_found",
        "message": "There is no such route.",
        "request_id": event["requestContext"]["requestId"],
    }


@pytest.mark.parametrize(
    ("allowed", "origin", "allowed_origin"),
    [
        ("*", "https://a.example.com", "*"),
        ("https://a.example.com", "https://a.example.com", "https://a.example.com"),
        (
            "https://a.example.com, https://b.example.com",
            "https://b.example.com",
            "https://b.example.com",
        ),
        ("https://a.example.com,*", "https://a.example.com", "*"),
        ("https://a.example.com", "https://a.example.com.evil.com", None),
        ("https://a.example.com", "null", None),
        ("https://a.example.com", "*", None),
        ("https://a.example.com", "", None),
        ("", "https://a.example.com", None),
        ("", "", None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_page_may_read_responses_if_its_origin_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    allowed: str,
    origin: str,
    allowed_origin: str | None,
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", allowed)
    event = job_event(httpMethod=method)
    event["multiValueHeaders"] |= {"ORIGIN": [origin]}
    headers = resolve(event)["multiValueHeaders"]
    headers.pop("Content-Type", None)
    assert headers == (
        {
            "Access-Control-Allow-Origin": [allowed_origin],
            "Access-Control-Expose-Headers": [EXPOSED],
            "Vary": ["Origin"],
        }
        if allowed_origin
        else {}
    )


def test_a_response_to_no_page_has_no_cors_headers() -> None:
    assert resolve(job_event())["multiValueHeaders"] == {}
