"""GET /playground: the function, called through its sample event."""

import pytest

from tests.integration.conftest import Functions, load_event


def test_the_page_is_for_everybody_and_may_reach_the_bucket_of_images(functions: Functions) -> None:
    response = functions.jobs(load_event("playground"))
    assert response["statusCode"] == 200
    assert response["body"].startswith("<!doctype html>")
    assert response["headers"]["Content-Type"] == "text/html; charset=utf-8"
    policy = response["headers"]["Content-Security-Policy"]
    assert "connect-src 'self' https://images.s3.eu-central-1.amazonaws.com;" in policy


def test_head_has_the_same_headers_and_no_body(functions: Functions) -> None:
    event = load_event("playground")
    got, head = functions.jobs(event), functions.jobs(event | {"httpMethod": "HEAD"})
    assert (head["statusCode"], head["body"]) == (200, "")
    assert head["headers"] == got["headers"]


def test_the_page_with_a_slash_behind_it_leads_to_the_page(functions: Functions) -> None:
    response = functions.jobs(load_event("playground") | {"path": "/playground/"})
    assert (response["statusCode"], response["headers"]["Location"]) == (302, "../playground")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_deployment_without_a_playground_has_no_such_page(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("PLAYGROUND", "false")
    response = functions.jobs(load_event("playground") | {"httpMethod": method})
    assert response["statusCode"] == 404
    assert method == "HEAD" or response["json"]["code"] == "not_found"
