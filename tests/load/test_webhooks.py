"""Many ends at once, on the deployed stack: each is told, and no receiver holds up another."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from local.stack import Stack
from tests.support.polling import wait_for
from tests.support.servers.webhook_receiver import Held, WebhookServer, verified
from tests.support.subscriber import Subscriber

ENDS: Final = 1000
WRITERS: Final = 20
HANGING: Final = 40
GOOD: Final = 20


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as server:
        yield server


@pytest.fixture
def subscriber(stack: Stack, server: WebhookServer) -> Iterator[Subscriber]:
    with Subscriber.of(stack, server) as subscriber:
        yield subscriber


def test_1000_ends_are_told_each_and_signed(
    subscriber: Subscriber, server: WebhookServer, record_property: Callable[[str, object], None]
) -> None:
    url, secret = server.open(), subscriber.secret
    subscriber.set(url)
    with ThreadPoolExecutor(WRITERS) as writers:
        jobs = {job.id for job in writers.map(lambda _: subscriber.end(), range(ENDS))}
    told: list[tuple[str, str]] = []

    def look() -> bool:
        """Verify what has come: a message is out of date after five minutes."""
        for message in server.received(url)[len(told) :]:
            content: Any = verified(message, secret)
            told.append((content["data"]["id"], message.headers["webhook-id"]))
        return {job_id for job_id, _ in told} == jobs

    wait_for(look, what="messages of all ends", seconds=600)
    assert len(set(told)) == ENDS  # one id of each end, however often it is told
    record_property("duplicates", len(told) - ENDS)


def test_a_receiver_that_hangs_holds_up_nobody_else(
    subscriber: Subscriber, server: WebhookServer
) -> None:
    hook = Held()
    hanging, good = server.open(hook), server.open(host="localhost")
    for _ in range(HANGING):
        subscriber.end(webhook=hanging)
    subscriber.got(hanging)
    jobs = {subscriber.end(webhook=good).id for _ in range(GOOD)}
    contents = subscriber.heard(good, GOOD)
    assert {content["data"]["id"] for content in contents} == jobs
    # A host gets three tenths of the calls at the same time. If it got all of them, the good ones
    # would wait for those that were there before.
    assert len(server.received(hanging)) < HANGING / 2
    hook.release.set()
    subscriber.got(hanging, HANGING)
