"""What is the same for all routes: routing, CORS and error responses."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sd3.api import app as api
from sd3.api.app import Response, RestApi
from sd3.api.request import Request
from sd3.domain.job_list import JobsQuery

JOB = Path(__file__).parents[3] / "events" / "job.json"
EXPOSED = ", ".join(api.EXPOSED_HEADERS)

Event = dict[str, Any]


@pytest.fixture(autouse=True)
def _settings_read_anew() -> Iterator[None]:
    yield
    api._allowed_origins.cache_clear()


def job_event(**changes: Any) -> Event:
    """Return the sample event of GET /jobs/{id}."""
    event: Event = json.loads(JOB.read_text())
    return event | changes


def resolve(event: object) -> Event:
    """Call an API that echoes the id of its only route, but for an open one."""
    echo = RestApi(open_routes=frozenset(["/health"]), queries={"/health": JobsQuery})

    @echo.get("/jobs/<id>")
    def job(request: Request, id: str) -> Response:
        return Response(200, f"{id} in {request.seconds} s", {"Vary": "Accept"})

    @echo.get("/health")
    @echo.head("/health")
    def health(request: Request) -> Response:
        return Response(200, f"{request.query(JobsQuery).limit}", {"Content-Type": "text/plain"})

    context = SimpleNamespace(
        function_name="sd3",
        memory_limit_in_mb=512,
        invoked_function_arn="arn",
        aws_request_id="1",
        get_remaining_time_in_millis=lambda: 29_000,
    )
    return echo.resolve(event, context)  # type: ignore[arg-type] # as much of it as is read


def health_event(**changes: Any) -> Event:
    return job_event(resource="/health", pathParameters=None, **changes)


def without_authorizer(**changes: Any) -> Event:
    """Return the event of the gateway's console, which asks no authorizer."""
    event = job_event(headers=None, multiValueHeaders=None, body=None, **changes)
    del event["requestContext"]["authorizer"]
    return event


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
        {"httpMethod": "PUT"},
        {"httpMethod": "POST"},
        {"pathParameters": None},
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
        "request_id": event["requestContext"]["extendedRequestId"],
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
            "Vary": ["Origin, Accept" if method == "GET" else "Origin"],
        }
        if allowed_origin
        else {"Vary": ["Accept"]}
        if method == "GET"
        else {}
    )


def test_a_response_to_no_page_has_no_cors_headers() -> None:
    assert resolve(job_event())["multiValueHeaders"] == {"Vary": ["Accept"]}


def test_head_is_get_without_the_body() -> None:
    answers = [resolve(health_event(httpMethod=method)) for method in ("GET", "HEAD")]
    assert [answer.pop("body") for answer in answers] == ["20", ""]
    assert answers[0] == answers[1]
    assert resolve(job_event(httpMethod="HEAD"))["statusCode"] == 404


@pytest.mark.parametrize(
    ("query", "status", "limit"),
    [
        (None, 200, "20"),
        ({"limit": "3"}, 200, "3"),
        ({"limit": "", "status": ""}, 200, "20"),
        ({"_": "1764150000"}, 200, "20"),
        ({"": ""}, 200, "20"),
        ({"dry_run": "true"}, 422, None),
        ({"dry_run": ""}, 422, None),
        ({"__": "1"}, 422, None),
        ({"": "x"}, 422, None),
    ],
)
def test_a_query_parameter_that_a_route_does_not_have_is_refused(
    query: dict[str, str] | None, status: int, limit: str | None
) -> None:
    response = resolve(health_event(queryStringParameters=query))
    assert response["statusCode"] == status
    if limit:
        assert response["body"] == limit
        query = {name: text for name, text in (query or {}).items() if name != "limit"}
        other = resolve(job_event(pathParameters={"id": "7"}, queryStringParameters=query))
        assert (other["statusCode"] == 200) == ("status" not in query)


@pytest.mark.parametrize(
    "context", [{}, {"authorizer": None}, {"authorizer": {}}, {"authorizer": {"principalId": "x"}}]
)
def test_without_an_authorizer_only_open_routes_answer(context: Event) -> None:
    event = without_authorizer()
    event["requestContext"] |= context
    response = resolve(event)
    assert (response["statusCode"], json.loads(response["body"])["code"]) == (401, "unauthorized")
    assert response["multiValueHeaders"]["WWW-Authenticate"] == ["Bearer"]
    assert resolve(event | {"resource": "/health", "pathParameters": {}})["statusCode"] == 200


@pytest.mark.parametrize(
    "event",
    [
        {"source": "serverless-plugin-warmup"},
        {"warmer": True, "concurrency": 1},
        {},
        None,
        [],
        "warm-up",
        7,
        {"resource": None, "httpMethod": None, "requestContext": None},
        {"resource": "/jobs/{id}", "httpMethod": "GET", "requestContext": "x", "headers": "y"},
        {"version": "2.0", "routeKey": "$default", "requestContext": {"http": {"method": "GET"}}},
    ],
)
def test_an_event_that_is_not_the_gateways_is_a_quiet_404(event: object) -> None:
    response = resolve(event)
    body = json.loads(response["body"])
    assert (response["statusCode"], body["code"]) == (404, "not_found")
    assert re.fullmatch("[0-9a-f]{32}", body["request_id"])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from([*job_event(), *job_event()["requestContext"]])


@example({"pathParameters": {"": None}}, {}, True)
@settings(deadline=None)
@given(st.dictionaries(NAMES, ANYTHING), st.dictionaries(NAMES, ANYTHING), st.booleans())
def test_no_event_makes_a_function_fail(changes: Event, context: Event, of_health: bool) -> None:
    event = health_event() if of_health else job_event()
    event["requestContext"] |= context
    response = resolve(event | changes)
    assert response["statusCode"] in {200, 401, 403, 404, 422}
