"""GET /openapi.json and /docs: the function, called through the sample events."""

import pytest

from tests.integration.conftest import Functions, load_event


def test_the_document_is_for_everybody(functions: Functions) -> None:
    answer = functions.jobs(load_event("openapi"))
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["headers"]["Cache-Control"] == "public, max-age=300"
    assert "/generate/sd3" in answer["json"]["paths"]


def test_the_page_runs_no_script(functions: Functions) -> None:
    answer = functions.jobs(load_event("docs"))
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert answer["headers"]["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer["body"].startswith("<!doctype html>")


@pytest.mark.parametrize("known", [None, '"another"', "*"])
@pytest.mark.parametrize("name", ["openapi", "docs"])
def test_who_has_it_is_not_sent_it_again(
    functions: Functions, name: str, known: str | None
) -> None:
    event = load_event(name)
    tag = functions.jobs(event)["headers"]["ETag"]
    event["headers"]["If-None-Match"] = known or f'W/{tag}, "x"'
    again = functions.jobs(event)
    assert (again["statusCode"] == 304) == (known != '"another"')
    assert again["headers"]["ETag"] == tag
    assert bool(again["body"]) == (known == '"another"')
