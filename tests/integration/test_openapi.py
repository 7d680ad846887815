"""GET /openapi.json and /docs: the function, called through the sample events."""

import re

import pytest

from tests.integration.conftest import Functions, load_event


def test_the_document_is_for_everybody(functions: Functions) -> None:
    response = functions.jobs(load_event("openapi"))
    assert response["statusCode"] == 200
    assert response["headers"]["Content-Type"] == "application/json"
    assert response["headers"]["Cache-Control"] == "public, max-age=300"
    assert "/generate/sd3" in response["json"]["paths"]


@pytest.mark.parametrize(
    ("name", "content_type", "start"),
    [
        ("docs", "text/html; charset=utf-8", "<!doctype html>"),
        ("docs_file", "text/css; charset=utf-8", ".swagger-ui{"),
    ],
)
def test_the_page_may_load_and_call_its_own_host_only(
    functions: Functions, name: str, content_type: str, start: str
) -> None:
    response = functions.jobs(load_event(name))
    assert response["statusCode"] == 200
    assert response["body"].startswith(start)
    headers = response["headers"]
    assert headers["Content-Type"] == content_type
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "index.html",
        "swagger-ui/LICENSE",
        "../openapi.json",
        "..%2fopenapi.json",
        "SWAGGER-UI.CSS",
    ],
)
def test_no_other_file_is_served(functions: Functions, name: str) -> None:
    event = load_event("docs_file")
    response = functions.jobs(event | {"pathParameters": {"file": name}})
    assert response["statusCode"] == 404
    assert response["json"]["code"] == "not_found"


def test_all_that_the_page_loads_is_served(functions: Functions) -> None:
    page = functions.jobs(load_event("docs"))["body"]
    loaded = re.findall(r'(?:src|href)="docs/([^"]+)"', page)
    assert len(loaded) == 3
    for name in loaded:
        event = load_event("docs_file") | {"pathParameters": {"file": name}}
        assert functions.jobs(event)["statusCode"] == 200


def test_the_page_with_a_slash_behind_it_leads_to_the_page(functions: Functions) -> None:
    response = functions.jobs(load_event("docs") | {"path": "/docs/"})
    assert (response["statusCode"], response["headers"]["Location"]) == (302, "../docs")


@pytest.mark.parametrize("known", [None, '"another"', "*"])
@pytest.mark.parametrize("name", ["openapi", "docs", "docs_file"])
def test_a_client_with_the_same_etag_gets_304(
    functions: Functions, name: str, known: str | None
) -> None:
    event = load_event(name)
    tag = functions.jobs(event)["headers"]["ETag"]
    event["headers"]["If-None-Match"] = known or f'W/{tag}, "x"'
    again = functions.jobs(event)
    assert (again["statusCode"] == 304) == (known != '"another"')
    assert again["headers"]["ETag"] == tag
    assert bool(again["body"]) == (known == '"another"')
