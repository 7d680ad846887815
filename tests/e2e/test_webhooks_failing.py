"""Receivers of webhooks that misbehave, and a function of deliveries that dies."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any, Final, NamedTuple

import pytest

from local.stack import Stack
from tests.support.event_queue import EventQueue
from tests.support.functions import replaced
from tests.support.polling import wait_for
from tests.support.servers.scripted_server import Received, Reply, head, http_reply, raw, silent
from tests.support.servers.webhook_receiver import TAKEN, WebhookServer, verified
from tests.support.subscriber import Subscriber

TIMEOUT_SECONDS: Final = 10
VISIBILITY_SECONDS: Final = 3
WAIT_SECONDS: Final = 3

HOSTS: Final = ("127.0.0.1", "localhost")
"""Each of them gets three messages at the same time."""

HUGE: Final = raw(head(200, content_length=str(10**9)) + b"x" * 100_000)


class Case(NamedTuple):
    """What an endpoint does at first, before it takes each message, and what the log says of it."""

    first: tuple[Reply, ...]
    attempts: list[int | str]


CASES: Final = {
    "500": Case((http_reply(500),), [500, 204]),
    "redirect": Case((http_reply(302, location="/hooks/elsewhere"),), [302, 204]),
    "429": Case((http_reply(429, retry_after=str(WAIT_SECONDS)),), [429, 204]),
    "slow": Case((silent,), ["timeout", 204]),
    "reset": Case((raw(b""),), ["connection", 204]),
    "huge": Case((HUGE,), [200]),
}


class Delivered(NamedTuple):
    """A delivery as its client sees it, and what its receiver has got."""

    entry: Any
    messages: list[Received]


class Outcomes(NamedTuple):
    """What became of the deliveries to the endpoints of CASES, and the URL that kills."""

    delivered: dict[str, Delivered]
    killing: str


@pytest.fixture(scope="module")
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as server:
        yield server


@pytest.fixture(scope="module")
def subscriber(
    stack: Stack, server: WebhookServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subscriber]:
    """Provide a client while deliveries are hasty, and die if their URL says so."""
    deaths = str(tmp_path_factory.mktemp("deaths"))
    with (
        Subscriber.of(stack, server) as subscriber,
        replaced(
            stack,
            "DeliveriesFunction",
            by="hasty_deliveries",
            folder="deliveries",
            timeout=TIMEOUT_SECONDS,
            DEATHS=deaths,
        ),
    ):
        yield subscriber


@contextmanager
def redelivering_soon(stack: Stack) -> Iterator[None]:
    """Receive the messages of a function that dies again soon."""
    sqs, queue = stack.deployed.client("sqs"), stack.deployed.resource("DeliveriesQueue")
    was = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])
    sqs.set_queue_attributes(
        QueueUrl=queue, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)}
    )
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=was["Attributes"])


@pytest.fixture(scope="module")
def outcomes(stack: Stack, subscriber: Subscriber, server: WebhookServer) -> Iterator[Outcomes]:
    """Make all deliveries at the same time. Then begin one after which the function dies."""
    hosts = cycle(HOSTS)
    urls = {name: server.open(*case.first, TAKEN, host=next(hosts)) for name, case in CASES.items()}
    jobs = {subscriber.end(webhook=url).id: name for name, url in urls.items()}

    def look() -> list[Any] | None:
        ended = [entry for entry in subscriber.log() if entry["status"] != "pending"]
        return ended if len(ended) == len(jobs) else None

    entries = {jobs[entry["job_id"]]: entry for entry in wait_for(look, what="ends")}
    delivered = {name: Delivered(entries[name], server.received(urls[name])) for name in CASES}
    with redelivering_soon(stack):
        killing = server.open(query="dies")
        subscriber.end(webhook=killing)
        yield Outcomes(delivered, killing)


@pytest.mark.parametrize("name", CASES)
def test_a_message_arrives_although_its_receiver_misbehaves_at_first(
    subscriber: Subscriber, outcomes: Outcomes, name: str
) -> None:
    entry, messages = outcomes.delivered[name]
    assert (entry["status"], statuses(entry)) == ("delivered", CASES[name].attempts)
    assert_one(messages, entry, subscriber.secret, times=len(entry["attempts"]))


def test_a_receiver_is_called_again_as_late_as_it_asks(outcomes: Outcomes) -> None:
    attempts = outcomes.delivered["429"].entry["attempts"]
    first, second = (datetime.fromisoformat(attempt["at"]) for attempt in attempts)
    assert second - first >= timedelta(seconds=WAIT_SECONDS - 0.5)


def test_a_certificate_of_nobody_is_not_trusted_and_the_delivery_of_a_deleted_job_is_canceled(
    subscriber: Subscriber, tls: ssl.SSLContext
) -> None:
    with WebhookServer(tls=tls) as server:
        job_id = subscriber.end(webhook=server.open(scheme="https")).id
        entry = subscriber.delivery(job_id, lambda one: bool(one["attempts"]))
        assert (entry["status"], statuses(entry)[0]) == ("pending", "tls")
        assert entry["next_at"]
        subscriber.call("DELETE", f"/jobs/{job_id}")
        subscriber.delivery(job_id, lambda one: one["status"] == "canceled")
    assert server.requests == []


def test_a_receiver_that_is_gone_gets_nothing_more_until_it_is_set_again(
    stack: Stack, subscriber: Subscriber, server: WebhookServer
) -> None:
    disabled = EventQueue(stack, "Webhook Disabled")
    gone = server.open(http_reply(410))
    subscriber.set(gone)
    entry = subscriber.delivery(subscriber.end().id)
    assert (entry["status"], statuses(entry)) == ("failed", [410])
    [event] = wait_for(lambda: disabled.details(subscriber.client_id), what="event")
    assert event["reason"] == subscriber.call("GET", "/webhook")["disabled_reason"]
    missed, again = subscriber.delivery(subscriber.end().id), server.open()
    assert (missed["status"], missed["attempts"]) == ("canceled", [])
    subscriber.set(again)
    job_id = subscriber.end().id
    assert [one["data"]["id"] for one in subscriber.heard(again, 1)] == [job_id]
    subscriber.call("POST", f"/webhook/deliveries/{missed['id']}/replay")
    assert {one["data"]["id"] for one in subscriber.heard(again, 2)} == {job_id, missed["job_id"]}
    assert len(server.received(gone)) == 1


def test_a_message_arrives_again_if_the_function_dies_before_it_can_note_it(
    subscriber: Subscriber, server: WebhookServer, outcomes: Outcomes
) -> None:
    messages = subscriber.got(outcomes.killing, 2)
    entry = subscriber.delivery(messages[0].headers["webhook-id"])
    assert (entry["status"], statuses(entry)) == ("delivered", [204])
    assert_one(messages, entry, subscriber.secret, times=2)


def statuses(entry: Any) -> list[int | str]:
    return [attempt["status"] or attempt["error"] for attempt in entry["attempts"]]


def assert_one(messages: Sequence[Received], entry: Any, secret: str, *, times: int) -> None:
    """Assert that a receiver has got one message so many times, signed each time."""
    assert [message.headers["webhook-id"] for message in messages] == [entry["id"]] * times
    for message in messages:
        assert verified(message, secret)["data"]["id"] == entry["job_id"]
