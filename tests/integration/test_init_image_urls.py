"""Init images by their URLs, fetched by the function from a server on loopback, or refused."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from sd3.adapters.aws import Aws
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import png
from tests.support.fakes.ports import FakeUpstream
from tests.support.servers.scripted_server import MisbehavingServer, Reply, http_reply

PATH: Final = "/cat.png?X-Signature=s3cret"


@pytest.fixture
def server() -> Iterator[Callable[[Reply], MisbehavingServer]]:
    with ExitStack() as ends:
        yield lambda reply: ends.enter_context(MisbehavingServer(reply))


def generated(functions: Functions, url: str, **limits: str) -> dict[str, Any]:
    event = load_event("generate", init_image_url=url)
    event["requestContext"]["authorizer"] |= limits
    return functions.generate(event)


def test_an_image_is_fetched_and_generated_over_and_its_url_is_kept_nowhere(
    functions: Functions,
    aws: Aws,
    upstream: FakeUpstream,
    server: Callable[[Reply], MisbehavingServer],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLIENT_URLS", "loopback")
    source = server(http_reply(200, png(), content_type="text/html"))
    result = generated(functions, source.url + PATH, daily_budget_micros="5000000")
    assert result["statusCode"] == 200, result["body"]
    (init_image,) = upstream.init_images
    assert init_image
    assert init_image.data == png()
    (request,) = source.requests
    assert request.path == PATH
    (again,) = [generated(functions, source.url + PATH)]  # the same event: its job is there
    assert (again["json"]["id"], len(source.requests)) == (result["json"]["id"], 1)
    stored = json.dumps(aws.dynamodb.scan(TableName="jobs")["Items"], default=str)
    assert "init_image_key" in stored
    assert "s3cret" not in stored + result["body"] + capsys.readouterr().out


@pytest.mark.parametrize(
    ("policy", "url", "msg"),
    [
        (None, "http://127.0.0.1:8000/", "its host is not a public address"),
        (None, "https://localhost/", "its host is not a public address"),
        (None, "https://169.254.169.254/", "its host is not a public address"),
        (None, "https://[::1]/", "its host should be a name or an IPv4 address"),
        (None, "http://images.example/", "it should begin with https://"),
        ("none", "https://images.example/", "this service calls no addresses that clients name"),
        ("loopback", "https://127.0.0.1:1/", "its port should be 443, or 1024 to 65535"),
    ],
)
def test_what_is_not_allowed_leaves_nothing(
    functions: Functions,
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    policy: str | None,
    url: str,
    msg: str,
) -> None:
    if policy:
        monkeypatch.setenv("CLIENT_URLS", policy)
    result = generated(functions, url)
    assert result["statusCode"] == 422
    (error,) = result["json"]["detail"]
    assert (error["loc"], error["type"]) == (["body", "init_image_url"], "url")
    assert error["msg"] == msg
    assert aws.dynamodb.scan(TableName="jobs")["Count"] == 0
    assert aws.dynamodb.scan(TableName="usage")["Count"] == 0


def test_a_client_has_so_many_images_fetched_in_a_minute(
    functions: Functions,
    server: Callable[[Reply], MisbehavingServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLIENT_URLS", "loopback")
    source = server(http_reply(404))
    limits = {"requests_per_minute": "2"}
    statuses = [
        generated(functions, source.url, **limits)["statusCode"] for _ in range(5)
    ]  # a minute can end meanwhile
    assert 429 in statuses
    assert 2 <= len(source.requests) == statuses.count(422) <= 4
