"""The webhooks table: settings and deliveries as documents, pages of the log, slots of hosts."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from moto import mock_aws

from sd3.adapters.dynamodb.webhooks import WebhookStore
from sd3.domain.delivery import Delivery, DeliveryKey, DeliveryStatus, message_id_of
from sd3.domain.webhook import JOB_EVENTS, WebhookEvent
from sd3.errors import ChangedError, NotFoundError, StorageError
from tests.support.fakes.ports import NOON


@pytest.fixture
def table() -> Iterator[Any]:
    with mock_aws():
        yield boto3.resource("dynamodb", region_name="eu-central-1").create_table(
            TableName="webhooks",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("client_id", "item")
            ],
            KeySchema=[
                {"AttributeName": "client_id", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
        )


class At:
    """A clock that a test moves."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def at() -> At:
    return At()


@pytest.fixture
def store(table: Any, at: At) -> WebhookStore:
    client = boto3.client("dynamodb", region_name="eu-central-1")
    return WebhookStore(client, table.name, host_slots=2, clock=at)


def delivery(minutes: int, status: DeliveryStatus = DeliveryStatus.FAILED) -> Delivery:
    at = NOON - timedelta(minutes=minutes)
    key = DeliveryKey("ann", message_id_of(at, str(minutes)), WebhookEvent.FAILED, at, "j")
    return Delivery.of(key).model_copy(update={"status": status})


def test_settings_are_written_by_whoever_read_the_last_ones(store: WebhookStore) -> None:
    first = store.settings("ann")
    stored = store.save_settings(first.set("https://hooks.example/x", JOB_EVENTS))
    assert store.settings("ann") == stored
    with pytest.raises(ChangedError):
        store.save_settings(first)
    assert store.settings("bob").url is None


def test_a_delivery_is_written_by_whoever_read_the_last_one(
    store: WebhookStore, table: Any
) -> None:
    one = delivery(1)
    stored = store.save_delivery(one)
    assert store.get_delivery("ann", one.id) == stored
    with pytest.raises(ChangedError):
        store.save_delivery(one)
    with pytest.raises(NotFoundError):
        store.get_delivery("bob", one.id)
    [item] = table.scan()["Items"]
    assert item["ttl"] == int((one.created_at + timedelta(days=30)).timestamp())


def test_what_is_no_id_of_a_message_is_not_asked_for() -> None:
    store = WebhookStore(Mock(spec=[]), "webhooks")  # DynamoDB takes no key of 2000 bytes
    with pytest.raises(NotFoundError):
        store.get_delivery("ann", "x" * 2000)


def test_the_log_is_read_in_pages_and_by_time(store: WebhookStore) -> None:
    made = [
        delivery(number, DeliveryStatus.FAILED if number % 2 else DeliveryStatus.DELIVERED)
        for number in range(10)
    ]
    for one in made:
        store.save_delivery(one)
    store.save_settings(store.settings("ann"))  # which is no delivery
    found: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = store.deliveries("ann", status=None, cursor=cursor, limit=3)
        found += [one.id for one in page]
        if cursor is None:
            break
    assert found == [one.id for one in made]
    since, until = made[6].id[:14], made[2].id[:14]
    page, _ = store.deliveries(
        "ann", status=DeliveryStatus.FAILED, cursor=None, since=since, until=until, limit=10
    )
    assert [one.id for one in page] == [made[3].id, made[5].id]


@pytest.mark.parametrize(("since", "until", "cursor"), [(2, 6, None), (2, 6, 4), (6, 2, 9)])
def test_a_part_of_the_log_that_is_none_is_not_asked_for(
    since: int, until: int, cursor: int | None
) -> None:
    ids = [delivery(number, DeliveryStatus.FAILED).id for number in range(10)]
    found = WebhookStore(Mock(spec=[]), "webhooks").deliveries(
        "ann",
        status=None,
        cursor=None if cursor is None else ids[cursor],
        since=ids[since][:14],
        until=ids[until][:14],
        limit=10,
    )
    assert found == ([], None)


def test_a_host_has_so_many_slots_and_no_more(store: WebhookStore, at: At) -> None:
    taken = {store.take_slot("hooks.example"), store.take_slot("hooks.example")}
    assert taken == {0, 1}
    assert store.take_slot("hooks.example") is None
    assert store.take_slot("other.example") is not None
    store.free_slot("hooks.example", 1)
    assert store.take_slot("hooks.example") == 1
    at.seconds += 41  # whoever took them has died
    assert store.take_slot("hooks.example") is not None


def test_an_unreadable_item_quotes_no_url(store: WebhookStore, table: Any) -> None:
    document = '{"client_id": "ann", "url": "https://hooks.example/?key=secret", "events": "?"}'
    table.put_item(Item={"client_id": "ann", "item": "webhook", "document": document})
    with pytest.raises(StorageError) as caught:
        store.settings("ann")
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
