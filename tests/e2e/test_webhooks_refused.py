"""Webhooks that the deployed stack refuses, whatever route names them."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from local.stack import Stack
from tests.support.operator import outcome
from tests.support.servers.webhook_receiver import WebhookServer
from tests.support.subscriber import Subscriber

PUBLIC: Final = "https://hooks.example"

BAD_URLS: Final = [
    "http://hooks.example/",
    "ftp://hooks.example/",
    "https://user:secret@hooks.example/",
    "https://hooks.example/#top",
    "https://hooks.example:22/",
    "https://hooks.example:70000/",
    "https://b\u00fccher.example/",  # it has a name in punycode, which is taken
    f"{PUBLIC}/{'a' * (2048 - len(PUBLIC))}",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.168.1.1/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fe80::1]/",
    "https://169.254.169.254./",
    "https://intranet/",
    "",
    7,
]
BAD_EVENTS: Final = [
    ["job.ended"],
    ["job.failed", "job.failed"],
    ["webhook.test"],
    ["job.succeeded", "job.failed", "job.canceled", "job.failed"],
    [],
    "job.failed",
]


@pytest.fixture(scope="module")
def stranger(stack: Stack) -> Iterator[Subscriber]:
    """Provide a client that no request here gives a webhook."""
    with WebhookServer() as server, Subscriber.of(stack, server) as stranger:
        yield stranger


@pytest.mark.parametrize(
    ("webhook", "where"),
    [
        *(({"url": url}, "url") for url in BAD_URLS),
        *(({"url": PUBLIC, "events": events}, "events") for events in BAD_EVENTS),
        ({"url": PUBLIC, "secret": "mine"}, "secret"),
        ({}, "url"),
        (PUBLIC, None),
    ],
)
def test_a_webhook_of_another_form_is_refused_and_sets_nothing(
    stranger: Subscriber, webhook: Any, where: str | None
) -> None:
    named = [where] if where else []
    refused = stranger.ask("PUT", "/webhook", webhook)
    assert outcome(refused) == (422, "validation_error")
    assert refused.json()["detail"][0]["loc"][: 1 + len(named)] == ["body", *named]
    request = {"prompt": "a fox", "steps": 1, "webhook": webhook}
    refused = stranger.ask("POST", "/generate/sd3", request)
    assert outcome(refused) == (422, "validation_error")
    assert refused.json()["detail"][0]["loc"][: 2 + len(named)] == ["body", "webhook", *named]
    assert "hooks.example" not in refused.text
    assert outcome(stranger.ask("GET", "/webhook")) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/generate/sd3", {"dry_run": True, "webhook": {"url": PUBLIC}}, 422),
        ("POST", "/webhook/secret/rotate", {"keep_old_seconds": -1}, 422),
        ("POST", "/webhook/secret/rotate", {"keep_old_seconds": 604_801}, 422),
        ("POST", "/webhook/secret/rotate", {"keep_old_seconds": "60"}, 422),
        ("POST", "/webhook/replay", {}, 422),
        ("POST", "/webhook/replay", {"since": "yesterday"}, 422),
        ("POST", "/webhook/replay", {"since": "2026-11-27T00:00:00"}, 422),
        ("POST", "/webhook/replay", {"since": "2026-11-27T00:00:00Z", "status": "gone"}, 422),
        ("POST", "/webhook/replay", {"since": "2026-11-27T00:00:00Z", "cursor": "msg_../x"}, 422),
        ("GET", "/webhook/deliveries?limit=101", None, 422),
        ("GET", "/webhook/deliveries?status=gone", None, 422),
        ("GET", "/webhook/deliveries?cursor=1", None, 422),
        ("GET", "/webhook/deliveries/msg_0", None, 404),
        ("GET", "/webhook/deliveries/..%2Fwebhook", None, 404),
        ("POST", "/webhook/deliveries/msg_0/replay", None, 404),
        ("POST", "/webhook/test", None, 404),
    ],
)
def test_other_wrong_requests_are_refused(
    stranger: Subscriber, method: str, path: str, body: Any, status: int
) -> None:
    if path == "/generate/sd3":
        body = {"prompt": "a fox"} | body
    code = {422: "validation_error", 404: "not_found"}[status]
    assert outcome(stranger.ask(method, path, body)) == (status, code)
    assert stranger.log() == []
