"""Webhooks as clients manage them: the endpoint, the secret, the log and its replay."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.client_url import UrlPolicy
from sd3.domain.delivery import (
    LOST_AFTER,
    Delivery,
    DeliveryKey,
    DeliveryStatus,
    message_id_of,
)
from sd3.domain.webhook import WebhookEvent, WebhookRequest
from sd3.domain.webhook_request import DeliveriesQuery, ReplayRequest, RotateRequest
from sd3.errors import (
    DeliveryPendingError,
    FieldError,
    InvalidRequestError,
    NotFoundError,
    StorageError,
)
from sd3.services.webhooks import WebhookService
from tests.support.fakes.ports import NOON, FakeTime
from tests.support.fakes.webhooks import MASTER, FakeDeliveryQueue, FakeWebhooks

REQUEST = WebhookRequest(url="https://hooks.example/sd3")


class World:
    """A client without a webhook."""

    def __init__(self, *masters: bytes, policy: UrlPolicy = UrlPolicy.PUBLIC) -> None:
        self.time, self.webhooks, self.queue = FakeTime(), FakeWebhooks(), FakeDeliveryQueue()
        self.service = WebhookService(
            webhooks=self.webhooks,
            queue=self.queue,
            secrets=lambda: masters,
            clock=self.time.time(),
            policy=policy,
        )

    def log(self, number: int, status: DeliveryStatus, *, client_id: str = "ann") -> Delivery:
        """Store a delivery of an event so many minutes before noon."""
        at = NOON - timedelta(minutes=number)
        key = DeliveryKey(
            client_id, message_id_of(at, str(number)), WebhookEvent.FAILED, at, f"j{number}"
        )
        one = Delivery.of(key).model_copy(update={"status": status, "failures": 10})
        return self.webhooks.save_delivery(one)


def test_an_endpoint_is_set_read_and_removed() -> None:
    world = World()
    with pytest.raises(NotFoundError):
        world.service.get("ann")
    assert world.service.set("ann", REQUEST) == world.service.get("ann")
    with pytest.raises(NotFoundError):
        world.service.get("bob")
    world.service.remove("ann")
    with pytest.raises(NotFoundError):
        world.service.get("ann")


@pytest.mark.parametrize(
    ("policy", "url", "reason"),
    [
        (UrlPolicy.PUBLIC, "https://localhost/sd3", "its host is not a public address"),
        (UrlPolicy.NONE, REQUEST.url, "this service calls no addresses that clients name"),
    ],
)
def test_an_endpoint_that_the_deployment_does_not_allow_is_refused(
    policy: UrlPolicy, url: str, reason: str
) -> None:
    world = World(policy=policy)
    with pytest.raises(InvalidRequestError) as refused:
        world.service.set("ann", WebhookRequest(url=url))
    assert refused.value.field_errors == (FieldError(("body", "url"), reason, "url"),)
    assert world.webhooks.clients == {}


def test_setting_a_disabled_endpoint_enables_it() -> None:
    world = World()
    world.service.set("ann", REQUEST)
    webhook = world.webhooks.clients["ann"].disable("the receiver answered 410", now=NOON)
    world.webhooks.clients["ann"] = webhook
    assert world.service.get("ann").disabled_reason == "the receiver answered 410"
    assert world.service.set("ann", REQUEST).disabled_at is None


def test_a_rotated_secret_is_another_and_stays_when_the_endpoint_goes() -> None:
    world = World(MASTER)
    first = world.service.get_secret("ann")
    rotated = world.service.rotate_secret("ann", RotateRequest(keep_old_seconds=60))
    assert rotated.secret != first.secret
    assert rotated.old_secret_until == NOON + timedelta(seconds=60)
    world.service.remove("ann")
    world.time.advance(60)
    assert world.service.get_secret("ann") == rotated.model_copy(update={"old_secret_until": None})


def test_no_secret_is_made_of_nothing() -> None:
    with pytest.raises(StorageError):
        World().service.get_secret("ann")


def test_a_test_goes_to_the_endpoint_and_into_the_log() -> None:
    world = World()
    with pytest.raises(NotFoundError):
        world.service.test("ann")
    world.service.set("ann", REQUEST)
    sent = world.service.test("ann")
    assert [(key.id, key.type) for key in world.queue.sent] == [(sent.id, WebhookEvent.TEST)]
    assert world.service.get_delivery("ann", sent.id) == sent


def test_a_delivery_that_has_ended_begins_again_once() -> None:
    world = World()
    failed = world.log(1, DeliveryStatus.FAILED)
    assert world.service.replay("ann", failed.id).status is DeliveryStatus.PENDING
    assert [key.id for key in world.queue.sent] == [failed.id]
    assert world.webhooks.log["ann", failed.id].failures == 0
    with pytest.raises(DeliveryPendingError):
        world.service.replay("ann", failed.id)
    with pytest.raises(NotFoundError):
        world.service.replay("bob", failed.id)


def test_a_replay_whose_message_was_not_sent_can_be_made_again_later() -> None:
    world = World()
    failed = world.log(1, DeliveryStatus.FAILED)
    world.queue.broken = True
    with pytest.raises(StorageError):
        world.service.replay("ann", failed.id)
    world.queue.broken = False
    world.time.advance(LOST_AFTER.total_seconds() - 1)
    with pytest.raises(DeliveryPendingError):
        world.service.replay("ann", failed.id)
    world.time.advance(1)
    world.service.replay("ann", failed.id)
    assert [key.id for key in world.queue.sent] == [failed.id]


def test_a_delivery_that_another_call_begins_again_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    made = [world.log(number, DeliveryStatus.FAILED) for number in range(3)]
    read = world.webhooks.deliveries

    def deliveries(*arguments: Any, **options: Any) -> Any:
        page = read(*arguments, **options)
        world.service.replay("ann", made[1].id)
        return page

    monkeypatch.setattr(world.webhooks, "deliveries", deliveries)
    request = ReplayRequest(since=NOON - timedelta(hours=1))
    assert world.service.replay_all("ann", request).replayed == 2
    assert sorted(key.id for key in world.queue.sent) == sorted(one.id for one in made)


def test_the_deliveries_of_a_time_begin_again_page_by_page() -> None:
    world = World()
    for number in range(130):
        world.log(number, DeliveryStatus.FAILED if number % 2 else DeliveryStatus.DELIVERED)
    world.log(5, DeliveryStatus.FAILED, client_id="bob")
    request = ReplayRequest(since=NOON - timedelta(minutes=119, seconds=30))
    first = world.service.replay_all("ann", request)
    assert first.next_cursor is not None
    rest = world.service.replay_all("ann", request.model_copy(update={"cursor": first.next_cursor}))
    assert rest.next_cursor is None
    assert {key.job_id for key in world.queue.sent} == {f"j{n}" for n in range(1, 120, 2)}
    assert first.replayed + rest.replayed == len(world.queue.sent) == 60


def test_the_log_is_read_in_pages_newest_first() -> None:
    world = World()
    made = [world.log(number, DeliveryStatus.DELIVERED) for number in range(3)]
    page = world.service.list_deliveries("ann", DeliveriesQuery(limit=2))
    assert [one.id for one in page.deliveries] == [made[0].id, made[1].id]
    rest = world.service.list_deliveries("ann", DeliveriesQuery(cursor=page.next_cursor))
    assert ([one.id for one in rest.deliveries], rest.next_cursor) == ([made[2].id], None)
