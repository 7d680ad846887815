"""Webhooks of the deployed stack: who hears of the end of a job, and what its client can do."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from standardwebhooks import Webhook, WebhookVerificationError

from local.stack import Stack
from sd3.domain.job import JobStatus
from tests.support.operator import outcome
from tests.support.servers.webhook_receiver import Held, WebhookServer
from tests.support.subscriber import Subscriber


@pytest.fixture(scope="module")
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as server:
        yield server


@pytest.fixture
def subscriber(stack: Stack, server: WebhookServer) -> Iterator[Subscriber]:
    with Subscriber.of(stack, server) as subscriber:
        yield subscriber


@pytest.fixture(scope="module")
def stranger(stack: Stack, server: WebhookServer) -> Iterator[Subscriber]:
    """Provide a client that sets no webhook."""
    with Subscriber.of(stack, server) as stranger:
        yield stranger


def test_the_ends_of_the_jobs_of_every_entrypoint_arrive(
    stack: Stack, subscriber: Subscriber, server: WebhookServer
) -> None:
    url = server.open()
    subscriber.set(url)
    request = {"prompt": "a fox", "steps": 1}
    told = {subscriber.generate()["id"]: "job.succeeded"}
    subscriber.got(url)
    told[subscriber.generate(prompt="a sketch-forbidden fox")["job_id"]] = "job.failed"
    subscriber.got(url, 2)
    queued = subscriber.call("POST", "/generate/sd3", request, prefer="respond-async")["id"]
    told |= {queued: "job.succeeded", subscriber.end(status=JobStatus.CANCELED).id: "job.canceled"}
    subscriber.got(url, 4)
    stack.deployed.client("s3").put_object(
        Bucket=stack.deployed.outputs()["InboxBucket"],
        Key=f"{subscriber.client_id}/fox.json",
        Body=json.dumps(request).encode(),
    )
    contents = subscriber.heard(url, 5)
    [dropped] = {content["data"]["id"] for content in contents} - set(told)
    told[dropped] = "job.succeeded"
    assert {content["data"]["id"]: content["type"] for content in contents} == told
    for content in contents:
        assert content["timestamp"] == content["data"]["completed_at"]
        for image in content["data"]["images"]:
            file = requests.get(image["url"], timeout=10).content
            assert hashlib.sha256(file).hexdigest() == image["sha256"]
    assert "a fox" not in json.dumps(contents)
    log = subscriber.log()
    assert {entry["job_id"]: entry["type"] for entry in log} == told
    assert {(entry["host"], entry["status"]) for entry in log} == {("127.0.0.1", "delivered")}
    assert "key=secret" not in json.dumps(log)


def test_a_request_names_a_webhook_of_its_own(
    subscriber: Subscriber, server: WebhookServer
) -> None:
    usual, own = server.open(), server.open()
    subscriber.set(usual)
    webhook = {"url": own, "events": ["job.failed"]}
    assert subscriber.generate(webhook=webhook)["status"] == "succeeded"
    failed = subscriber.generate(prompt="a sketch-forbidden fox", webhook=webhook)["job_id"]
    other = subscriber.generate()["id"]
    assert [content["data"]["id"] for content in subscriber.heard(own)] == [failed]
    assert [content["data"]["id"] for content in subscriber.heard(usual)] == [other]


def test_messages_are_signed_with_both_secrets_while_one_replaces_the_other(
    subscriber: Subscriber, server: WebhookServer
) -> None:
    def sent() -> tuple[bytes, dict[str, str]]:
        url = server.open()
        subscriber.set(url)
        subscriber.call("POST", "/webhook/test")
        [message] = subscriber.got(url)
        return message.body, message.headers

    def secret_after(**rotation: int) -> str:
        return str(subscriber.call("POST", "/webhook/secret/rotate", rotation)["secret"])

    first = subscriber.secret
    second = secret_after()
    assert subscriber.secret == second != first
    message = sent()
    for secret in (first, second):
        assert Webhook(secret).verify(*message)["type"] == "webhook.test"
    third = secret_after(keep_old_seconds=0)
    message = sent()
    Webhook(third).verify(*message)
    for secret in (first, second):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(*message)


def test_a_delivery_is_replayed_once_it_has_ended(
    subscriber: Subscriber, stranger: Subscriber, server: WebhookServer
) -> None:
    hook = Held()
    url = server.open(hook)
    subscriber.set(url)
    began = datetime.now(UTC) - timedelta(seconds=5)
    message_id = subscriber.call("POST", "/webhook/test")["id"]
    path = f"/webhook/deliveries/{message_id}"
    replay = f"{path}/replay"
    assert outcome(subscriber.ask("POST", replay)) == (409, "delivery_pending")
    hook.release.set()
    subscriber.delivery(message_id, lambda one: one["status"] == "delivered")
    for method, hidden in (("GET", path), ("POST", replay)):
        assert outcome(stranger.ask(method, hidden)) == (404, "not_found")
    assert subscriber.call("POST", replay)["status"] == "pending"
    subscriber.got(url, 2)
    subscriber.delivery(message_id, lambda one: one["status"] == "delivered")
    window = {"since": began.isoformat(), "status": "delivered"}
    assert stranger.call("POST", "/webhook/replay", window)["replayed"] == 0
    assert subscriber.call("POST", "/webhook/replay", window)["replayed"] == 1
    messages = subscriber.got(url, 3)
    assert {message.headers["webhook-id"] for message in messages} == {message_id}
    entry = subscriber.delivery(message_id, lambda one: one["status"] == "delivered")
    assert [attempt["status"] for attempt in entry["attempts"]] == [204] * 3
    assert subscriber.log(status="failed") == []


@pytest.mark.parametrize(
    ("method", "path", "may"),
    [
        ("GET", "/webhook", True),
        ("GET", "/webhook/deliveries", True),
        ("PUT", "/webhook", False),
        ("DELETE", "/webhook", False),
        ("GET", "/webhook/secret", False),
        ("POST", "/webhook/secret/rotate", False),
        ("POST", "/webhook/test", False),
        ("POST", "/webhook/replay", False),
        ("POST", "/webhook/deliveries/msg_0/replay", False),
    ],
)
def test_a_token_that_only_reads_sees_the_log_and_no_secret(
    stack: Stack, stranger: Subscriber, method: str, path: str, *, may: bool
) -> None:
    tokens = stack.deployed.tokens()
    reader = tokens.issue(stranger.client_id, scopes=frozenset({"read"}))
    response = stranger.ask(method, path, authorization=f"Bearer {reader}")
    assert (response.status_code == 403) is not may, response.text
