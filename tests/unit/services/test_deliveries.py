"""Deliveries: who is told of the end of a job, and what follows from each answer."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openai import OpenAI
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from sd3.domain.delivery import (
    DELAYS,
    MAX_GIVEN_UP,
    Delivery,
    DeliveryKey,
    DeliveryStatus,
    WebhookReply,
    delivery_of,
    message_id_of,
)
from sd3.domain.job import Job, JobStatus
from sd3.domain.webhook import JOB_EVENTS, Webhook, WebhookEvent, secret_of
from sd3.errors import StorageError
from sd3.responses.webhooks import webhook_response
from sd3.services.deliveries import WebhookDeliveries
from sd3.services.notifications import WebhookAnnouncer
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import NOON, FakeImages, FakeJobs, FakeMetrics, FakeTime
from tests.support.fakes.webhooks import (
    MASTER,
    FakeDeliveryQueue,
    FakeReceiver,
    FakeWebhookEvents,
    FakeWebhooks,
)

URL = "https://hooks.example/sd3?key=1"
OWN = {"url": "https://own.example/x", "events": ["job.succeeded"]}
NO_ANSWER = WebhookReply(None, "timeout", 15_000)


def ended(status: JobStatus = JobStatus.SUCCEEDED, **changes: Any) -> Job:
    kept = {"expires_at": NOON + timedelta(days=30)}
    return job(status=status, completed_at=NOON, lease_until=None, **kept | changes)


class World:
    """A job that has ended, its client with an endpoint, and a receiver with answers."""

    def __init__(self, *replies: WebhookReply, ended_job: Job | None = None) -> None:
        self.time = FakeTime()
        self.jobs, self.webhooks = FakeJobs(), FakeWebhooks()
        self.receiver, self.events = FakeReceiver(*replies), FakeWebhookEvents()
        self.metrics, self.queue = FakeMetrics(), FakeDeliveryQueue()
        self.job = ended_job or ended()
        self.jobs.items[self.job.id] = self.job
        self.webhooks.clients["ann"] = Webhook(client_id="ann").set(URL, JOB_EVENTS)
        self.key = delivery_of(self.job, is_own=self.job.request.webhook is not None)
        self.deliveries = WebhookDeliveries(
            webhooks=self.webhooks,
            jobs=self.jobs,
            images=FakeImages(),
            receiver=self.receiver,
            secrets=lambda: (MASTER,),
            events=self.events,
            clock=self.time.time(),
            metrics=self.metrics,
        )

    def announce(self) -> list[DeliveryKey]:
        WebhookAnnouncer(webhooks=self.webhooks, queue=self.queue).announce(self.job)
        return self.queue.sent

    def lose(self, what: str) -> None:
        """Delete the job, or remove the endpoint."""
        if what == "job":
            self.jobs.delete(self.job, now=NOON)
        else:
            self.webhooks.clients.clear()

    def attempt(self) -> int | None:
        return self.deliveries.attempt(self.key, receives=1)

    def run(self) -> list[int]:
        """Make attempts until nothing is left to do; return the waits in between."""
        waits: list[int] = []
        while (wait := self.attempt()) is not None:
            waits.append(wait)
            self.time.advance(wait)
        return waits

    @property
    def delivery(self) -> Delivery:
        return self.webhooks.log["ann", self.key.id]


@pytest.mark.parametrize(
    ("own", "status", "told"),
    [
        (None, JobStatus.SUCCEEDED, True),
        (None, JobStatus.CANCELED, True),
        (OWN, JobStatus.SUCCEEDED, True),
        (OWN, JobStatus.FAILED, False),  # although the client's endpoint wants it
    ],
)
def test_the_requests_webhook_takes_the_place_of_the_clients(
    own: dict[str, Any] | None, status: JobStatus, *, told: bool
) -> None:
    world = World(ended_job=ended(status, request={"prompt": "a fox", "webhook": own}))
    sent = world.announce()
    assert [key.is_own for key in sent] == ([own is not None] if told else [])


def test_a_client_without_a_webhook_costs_no_message() -> None:
    world = World()
    world.webhooks.clients.clear()
    assert world.announce() == []


def test_an_end_that_is_told_twice_is_one_delivery() -> None:
    world = World()
    world.announce()
    first, second = world.announce()
    assert first == second
    assert "." not in first.id


@pytest.mark.parametrize(
    ("later", "is_own"),
    [
        ({"webhook": {"url": "https://own.example", "shape": "new"}}, True),
        ({"webhook": {"url": "https://own.example"}, "steps": 1000}, True),
        ({"webhook": {"url": "https://own.example", "events": ["new", "job.succeeded"]}}, True),
        ({"webhook": {"queue": "of another kind"}}, False),
    ],
)
def test_a_request_of_a_later_version_is_told_to_its_own_webhook_if_that_can_be_read(
    later: dict[str, Any], *, is_own: bool
) -> None:
    world = World(ended_job=ended(request={"prompt": "a fox", **later}))
    [key] = world.announce()
    assert key.is_own == is_own
    assert world.deliveries.attempt(key, receives=1) is None
    assert [url for url, _, _ in world.receiver.posts] == ["https://own.example" if is_own else URL]


@pytest.mark.parametrize(("request_", "told"), [({}, 0), ({"webhook": OWN}, 1)])
def test_a_line_of_a_batch_is_told_to_its_own_webhook_alone(
    request_: dict[str, Any], told: int
) -> None:
    line = {"id": "b", "line": 1, "part": 0}
    world = World(ended_job=ended(batch=line, request={"prompt": "a fox", **request_}))
    assert len(world.announce()) == told


def test_an_endpoint_for_events_of_a_later_version_hears_of_those_of_this_one() -> None:
    world = World()
    stored = '{"client_id": "ann", "url": "https://x.example", "events": ["new", "job.succeeded"]}'
    world.webhooks.clients["ann"] = Webhook.model_validate_json(stored)
    assert len(world.announce()) == 1
    assert webhook_response(world.webhooks.settings("ann")).events == ["job.succeeded"]


def test_an_end_while_the_endpoint_is_disabled_is_logged_to_be_replayed() -> None:
    world = World()
    webhook = world.webhooks.clients["ann"]
    world.webhooks.clients["ann"] = webhook.disable("no message arrived", now=NOON)
    assert world.announce() == [world.key]
    assert world.attempt() is None
    assert world.receiver.posts == []
    assert world.delivery.status is DeliveryStatus.CANCELED


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.SUCCEEDED])
def test_no_message_tells_a_failure_of_a_job_that_was_begun_again(status: JobStatus) -> None:
    failed = ended(JobStatus.FAILED)
    world = World(NO_ANSWER, ended_job=failed)
    world.attempt()
    world.jobs.items["j"] = failed.redrive(now=NOON).model_copy(update={"status": status})
    world.time.advance(3600)
    assert world.attempt() is None
    assert world.delivery.status is DeliveryStatus.CANCELED
    assert len(world.receiver.posts) == 1


@pytest.mark.parametrize("is_rotating", [False, True])
def test_a_message_is_verified_by_others_libraries(*, is_rotating: bool) -> None:
    world = World()
    now = datetime.now(UTC)  # the libraries know no other clock
    secrets = [secret_of(MASTER, "ann", 1)]
    if is_rotating:
        secrets.append(secret_of(MASTER, "ann", 2))
        webhook = world.webhooks.clients["ann"]
        world.webhooks.clients["ann"] = webhook.rotate(now=now, keep_old=timedelta(days=1))
    world.jobs.items["j"] = ended(expires_at=now + timedelta(days=1))
    clock = world.time.time()._replace(now=lambda: now)
    assert replace(world.deliveries, clock=clock).attempt(world.key, receives=1) is None
    [(url, headers, body)] = world.receiver.posts
    assert (url, headers["webhook-timestamp"]) == (URL, str(int(now.timestamp())))
    for secret in secrets:
        Verifier(secret).verify(body, dict(headers))
        client = OpenAI(api_key="none", webhook_secret=secret)
        client.webhooks.verify_signature(body.decode(), headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(secrets[0]).verify(body + b" ", dict(headers))
    message = json.loads(body)
    assert (message["type"], message["data"]["id"]) == ("job.succeeded", "j")
    assert message["timestamp"] == message["data"]["completed_at"]
    assert b"a fox" not in body


def test_a_delivery_is_tried_for_almost_three_days_and_then_given_up() -> None:
    world = World(NO_ANSWER)
    waits = world.run()
    assert len(waits) == len(DELAYS)
    assert timedelta(days=2.5) < timedelta(seconds=sum(waits)) < timedelta(days=3.5)
    assert max(waits) <= 43_200  # what SQS hides a message for at most
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.posts}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in world.receiver.posts}) == 11
    assert world.delivery.status is DeliveryStatus.FAILED
    assert world.delivery.attempts[-1].error == "timeout"
    assert world.metrics.of("WebhookGivenUp") == [(1, {})]


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
def test_every_status_but_a_2xx_is_tried_again(status: int) -> None:
    world = World(WebhookReply(status, None, 1), WebhookReply(200, None, 1))
    assert world.run() == [6]
    assert [one.status for one in world.delivery.attempts] == [status, 200]
    assert world.delivery.status is DeliveryStatus.DELIVERED


def test_a_receiver_can_ask_for_a_longer_wait() -> None:
    world = World(WebhookReply(429, None, 1, retry_after=600.0), WebhookReply(200, None, 1))
    assert world.run() == [601]


def test_the_wait_begins_when_a_receiver_that_hangs_is_given_up() -> None:
    world = World()
    receiver = FakeReceiver(NO_ANSWER, during=lambda: world.time.advance(NO_ANSWER.ms / 1000))
    world.deliveries = replace(world.deliveries, receiver=receiver)
    assert world.attempt() == 6


def test_a_message_that_comes_too_early_waits() -> None:
    world = World(WebhookReply(500, None, 1))
    world.attempt()
    assert world.attempt() == 6  # a second message of the same delivery
    assert len(world.receiver.posts) == 1


def test_a_message_of_a_delivery_that_arrived_does_nothing() -> None:
    world = World()
    world.attempt()
    assert world.attempt() is None
    assert len(world.receiver.posts) == 1


def test_a_host_that_is_busy_is_not_called() -> None:
    world = World()
    world.webhooks.taken["hooks.example"] = world.webhooks.slots
    waits = [world.deliveries.attempt(world.key, receives=count) for count in (1, 10, 1000)]
    assert waits == [3, 21, 300]
    assert world.receiver.posts == []
    world.webhooks.taken.clear()
    assert world.attempt() is None
    assert world.webhooks.taken["hooks.example"] == 0


def test_gone_disables_the_endpoint_and_says_so_once() -> None:
    world = World(WebhookReply(410, None, 1))
    assert world.attempt() is None
    assert not world.webhooks.settings("ann").is_enabled
    [event] = world.events.put
    assert json.loads(event)["client_id"] == "ann"
    other = delivery_of(ended(id="k"), is_own=False)
    world.jobs.items["k"] = ended(id="k")
    assert world.deliveries.attempt(other, receives=1) is None
    assert world.webhooks.log["ann", other.id].status is DeliveryStatus.CANCELED
    assert len(world.receiver.posts) == 1


def test_the_event_of_a_disabled_endpoint_is_not_lost_while_the_bus_is_down() -> None:
    world = World(WebhookReply(410, None, 1))
    world.events.broken = True
    with pytest.raises(StorageError):
        world.attempt()
    world.events.broken = False
    assert world.attempt() is None
    assert len(world.events.put) == 1
    assert world.delivery.status is DeliveryStatus.FAILED
    assert not world.webhooks.settings("ann").is_enabled


def test_an_endpoint_that_was_moved_meanwhile_is_not_disabled_for_the_old_one() -> None:
    world = World()

    def move() -> None:
        webhook = world.webhooks.settings("ann").set("https://new.example/", JOB_EVENTS)
        world.webhooks.save_settings(webhook)

    receiver = FakeReceiver(WebhookReply(410, None, 1), during=move)
    world.deliveries = replace(world.deliveries, receiver=receiver)
    assert world.attempt() is None
    assert world.webhooks.settings("ann").is_enabled
    assert world.events.put == []


def test_gone_from_a_requests_webhook_ends_only_its_delivery() -> None:
    world = World(
        WebhookReply(410, None, 1), ended_job=ended(request={"prompt": "a fox", "webhook": OWN})
    )
    assert world.attempt() is None
    assert world.delivery.status is DeliveryStatus.FAILED
    assert world.webhooks.settings("ann").is_enabled


def test_an_endpoint_that_never_answers_is_disabled_after_twenty_deliveries() -> None:
    world = World(NO_ANSWER)
    for number in range(MAX_GIVEN_UP):
        assert world.webhooks.settings("ann").is_enabled
        one = ended(id=f"j{number}", expires_at=NOON + timedelta(days=99))
        world.jobs.items[one.id] = one
        world.key = delivery_of(one, is_own=False)
        world.run()
    assert world.webhooks.settings("ann").disabled_reason == "no message arrived"
    assert len(world.events.put) == 1


def test_one_delivery_that_arrives_ends_the_row_of_those_given_up() -> None:
    world = World()
    webhook = world.webhooks.clients["ann"]
    world.webhooks.clients["ann"] = webhook.model_copy(update={"given_up": MAX_GIVEN_UP - 1})
    world.attempt()
    assert world.webhooks.settings("ann").given_up == 0


def test_a_message_that_arrived_is_noted_although_the_row_cannot_be_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Webhook) -> Webhook:
        raise StorageError("The webhooks table could not be used.")

    world = World()
    webhook = world.webhooks.clients["ann"]
    world.webhooks.clients["ann"] = webhook.model_copy(update={"given_up": 1})
    monkeypatch.setattr(world.webhooks, "save_settings", refuse)
    assert world.attempt() is None
    assert world.delivery.status is DeliveryStatus.DELIVERED


@pytest.mark.parametrize("gone", ["job", "endpoint"])
def test_a_delivery_of_what_is_gone_is_canceled(gone: str) -> None:
    world = World()
    world.webhooks.save_delivery(Delivery.of(world.key))
    world.lose(gone)
    assert world.attempt() is None
    assert world.delivery.status is DeliveryStatus.CANCELED
    assert world.receiver.posts == []


def test_an_end_that_nobody_was_told_of_before_the_endpoint_went_can_be_replayed() -> None:
    world = World()
    world.lose("endpoint")
    assert world.attempt() is None
    assert world.delivery.status is DeliveryStatus.CANCELED


def test_a_message_of_an_erased_client_writes_nothing() -> None:
    world = World()
    world.lose("job")
    world.lose("endpoint")
    test = DeliveryKey("ann", message_id_of(NOON, "test"), WebhookEvent.TEST, NOON)
    for key in (world.key, test):
        assert world.deliveries.attempt(key, receives=2) is None
    assert world.webhooks.log == {}


def test_another_messages_write_counts() -> None:
    world = World()
    world.deliveries = replace(
        world.deliveries,
        receiver=FakeReceiver(
            NO_ANSWER, during=lambda: world.webhooks.save_delivery(Delivery.of(world.key))
        ),
    )
    assert world.attempt() == 2
    assert world.delivery.attempts == ()


def test_ids_of_messages_are_in_the_order_of_time() -> None:
    times = [NOON + timedelta(milliseconds=step) for step in (0, 1, 999, 1000, 86_400_000)]
    ids = [message_id_of(at, "same") for at in times]
    assert ids == sorted(ids)
