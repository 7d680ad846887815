"""The HTTP edge of the deployed stack, as other languages, monitors and caches meet it."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests

from local.stack import Stack
from sd3.responses.models import TIME_PATTERN

OPEN: Final = ("/health", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/playground")
OF_ONE_ANSWER: Final = {"date", "content-length", "connection", "server"}
"""Headers of the embedded gateway, or of one answer alone."""

LIKE_A_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")


@pytest.mark.parametrize("path", OPEN)
def test_a_monitor_that_sends_head_sees_what_get_would_answer(
    stack: Stack, http: requests.Session, path: str
) -> None:
    got, headed = (http.request(method, stack.api_url + path) for method in ("GET", "HEAD"))
    assert (headed.status_code, headed.content) == (200, b"")
    assert stable(headed) == stable(got)


def stable(response: requests.Response) -> dict[str, str]:
    return {
        name.lower(): text
        for name, text in response.headers.items()
        if name.lower() not in OF_ONE_ANSWER and not name.lower().startswith("x-amz")
    }


def test_a_method_that_no_route_has_is_404(stack: Stack, client: requests.Session) -> None:
    for method in ("PUT", "PATCH", "HEAD"):
        assert client.request(method, f"{stack.api_url}/jobs").status_code == 404


def test_an_image_is_had_without_a_redirect_and_not_by_head(
    stack: Stack, client: requests.Session, http: requests.Session
) -> None:
    job = client.post(f"{stack.api_url}/generate/sd3", json={"prompt": "a fox", "steps": 1}).json()
    address = f"{stack.api_url}/jobs/{job['id']}/images/0"
    headed = client.head(address)
    assert (headed.status_code, headed.headers["Allow"], headed.content) == (405, "GET", b"")
    redirect = client.get(address, allow_redirects=False)
    named = client.get(address, headers={"Accept": "application/json"})
    assert (redirect.status_code, named.status_code) == (302, 200)
    assert redirect.headers["Vary"] == named.headers["Vary"] == "Accept"
    del client.headers["Authorization"]
    assert len(http.get(named.json()["url"]).content) == job["images"][0]["bytes"]
    assert http.head(address).status_code == 401


def test_a_parameter_that_is_not_known_changes_and_costs_nothing(
    stack: Stack, client: requests.Session
) -> None:
    url = f"{stack.api_url}/generate/sd3"
    for query in ("dry_run=true", "dry_run", "_=1764150000"):
        response = client.post(f"{url}?{query}", json={"prompt": "a fox", "steps": 1})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", query.partition("=")[0]]
    listed = client.get(f"{stack.api_url}/jobs?status=&limit=20&cursor=&_=1764150000")
    assert listed.json()["jobs"] == []
    for wrong in ("limit=5_0", "limit=%2B5", "limit=+5+", "limit=%D9%A5", "limit=5.0"):
        assert client.get(f"{stack.api_url}/jobs?{wrong}").status_code == 422


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"steps": 3e1, "num_images": 1.0, "width": 1024.0, "seed": [7.0]}, {}),
        ({}, {"Content-Type": "application/json, application/json"}),
        ({}, {"Content-Encoding": "identity"}),
    ],
)
def test_json_of_other_languages_is_the_same_request(
    stack: Stack, client: requests.Session, body: dict[str, Any], headers: dict[str, str]
) -> None:
    url, mark = f"{stack.api_url}/generate/sd3", b"\xef\xbb\xbf"
    common = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    plain = {"prompt": "a fox", "steps": 30, "seed": [7]}
    first = client.post(url, data=json.dumps(plain), headers=common)
    data = mark + json.dumps(plain | body).encode()
    again = client.post(url, data=data, headers=common | headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.json()["id"], again.json()["images"][0]["seed"]) == (first.json()["id"], 7)


@pytest.mark.parametrize(
    ("data", "headers", "status", "named"),
    [
        ('{"prompt": "ein Füchslein"}'.encode("latin-1"), {}, 422, "the body was not UTF-8"),
        ('{"prompt": "ein Füchslein"}'.encode("utf-16"), {}, 400, "not in UTF-8"),
        (b'{"prompt": " \\u200b "}', {}, 422, "visible"),
        (b"{}", {"Content-Encoding": "br"}, 415, "br"),
        (gzip.compress(b'{"prompt": "x"}'), {"Content-Encoding": "gzip"}, 415, "gzip"),
        (b"{}", {"Content-Type": "application/json; charset=iso-8859-1"}, 415, "UTF-8"),
    ],
)
def test_what_would_be_paid_for_nothing_is_refused_by_name(
    stack: Stack,
    client: requests.Session,
    data: bytes,
    headers: dict[str, str],
    status: int,
    named: str,
) -> None:
    sent = {"Content-Type": "application/json"} | headers
    response = client.post(f"{stack.api_url}/generate/sd3", data=data, headers=sent)
    assert (response.status_code, named in response.text) == (status, True)
    assert client.get(f"{stack.api_url}/jobs").json()["jobs"] == []


def test_every_time_has_one_form(stack: Stack, client: requests.Session) -> None:
    generated = client.post(
        f"{stack.api_url}/generate/sd3", json={"prompt": "a fox", "steps": 1}
    ).json()
    image = f"/jobs/{generated['id']}/images/0"
    answers = [
        generated,
        client.post(f"{stack.api_url}/uploads", json={"content_type": "image/png"}).json(),
        *(
            client.get(stack.api_url + path, headers={"Accept": "application/json"}).json()
            for path in (f"/jobs/{generated['id']}", "/jobs", "/usage", image)
        ),
    ]
    for answer in answers:
        times = list(times_in(answer))
        assert times
        assert all(re.fullmatch(TIME_PATTERN, time) for time in times), times


def times_in(value: Any) -> Iterator[str]:
    match value:
        case str() if LIKE_A_TIME.fullmatch(value):
            yield value
        case dict():
            for each in value.values():
                yield from times_in(each)
        case list():
            for each in value:
                yield from times_in(each)


@pytest.mark.parametrize("function", ["GenerateFunction", "JobsFunction"])
@pytest.mark.parametrize(
    "event",
    [
        {"source": "serverless-plugin-warmup"},
        {
            "resource": "/generate/sd3",
            "path": "/generate/sd3",
            "httpMethod": "POST",
            "headers": None,
            "multiValueHeaders": None,
            "body": None,
            "requestContext": {"requestId": "test-invoke-request", "stage": "test-invoke-stage"},
        },
    ],
)
def test_a_function_answers_what_is_not_a_clients_request(
    stack: Stack, function: str, event: object
) -> None:
    reply = stack.deployed.client("lambda").invoke(
        FunctionName=stack.deployed.resource(function), Payload=json.dumps(event).encode()
    )
    assert "FunctionError" not in reply
    assert json.loads(reply["Payload"].read())["statusCode"] in {401, 404}
