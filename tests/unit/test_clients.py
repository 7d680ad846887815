"""Tokens and clients, over a fake of the one table that they need."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sd3.clients import Client, ClientStore
from sd3.errors import StorageError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class ConditionalCheckFailedError(Exception):
    """DynamoDB's, as clients carry it."""


class FakeExceptions:
    ConditionalCheckFailedException = ConditionalCheckFailedError


class FakeDynamoDb:
    """A table of tokens; it counts its calls and fails when told to."""

    exceptions = FakeExceptions

    def __init__(self, *, broken: bool = False) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.calls = 0
        self.broken = broken

    def _called(self, operation: str) -> None:
        self.calls += 1
        if self.broken:
            raise ClientError({"Error": {"Code": "InternalServerError"}}, operation)

    def put_item(self, *, TableName: str, Item: dict[str, Any], **_: Any) -> None:  # noqa: N803 - boto3's names
        self._called("PutItem")
        self.items[Item["token_sha256"]["S"]] = Item

    def get_item(self, *, TableName: str, Key: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._called("GetItem")
        item = self.items.get(Key["token_sha256"]["S"])
        return {"Item": item} if item else {}

    def update_item(
        self,
        *,
        Key: dict[str, Any],  # noqa: N803 - boto3's names
        ExpressionAttributeValues: dict[str, Any],  # noqa: N803 - boto3's names
        **_: Any,
    ) -> None:
        self._called("UpdateItem")
        item = self.items.get(Key["token_sha256"]["S"])
        if item is None:
            raise ConditionalCheckFailedError
        item.setdefault("revoked_at", ExpressionAttributeValues[":now"])


def store_over(table: Any) -> ClientStore:
    return ClientStore(table, "clients", now=lambda: NOW)


@pytest.fixture
def table() -> FakeDynamoDb:
    return FakeDynamoDb()


def test_a_token_finds_its_client(table: FakeDynamoDb) -> None:
    store = store_over(table)
    token = store.issue("team-7", "The seventh team")
    assert store.find(token) == Client("team-7", "The seventh team")


def test_tokens_are_long_random_and_never_kept(table: FakeDynamoDb) -> None:
    store = store_over(table)
    tokens = {store.issue("a", "a") for _ in range(20)}
    assert len(tokens) == 20
    assert all(re.fullmatch(r"sd3_[\w-]{43}", token) for token in tokens)
    assert not any(token in str(table.items) for token in tokens)
    assert all(item["created_at"]["S"] == NOW.isoformat() for item in table.items.values())


def test_a_revoked_token_finds_nobody_and_stays_revoked(table: FakeDynamoDb) -> None:
    store = store_over(table)
    token = store.issue("a", "a")
    assert store.revoke(token)
    assert store.find(token) is None
    assert store.revoke(token)


def test_revoking_an_unknown_token_says_so(table: FakeDynamoDb) -> None:
    assert not store_over(table).revoke("sd3_" + "x" * 43)


def test_an_unknown_token_finds_nobody(table: FakeDynamoDb) -> None:
    assert store_over(table).find("sd3_" + "x" * 43) is None


@pytest.mark.parametrize(
    "token",
    ["", "sd3_", "sd3_" + "x" * 42, "sd3_" + "x" * 44, "SD3_" + "x" * 43, "sd3_" + "é" * 43],
)
def test_a_malformed_token_costs_no_read(table: FakeDynamoDb, token: str) -> None:
    assert store_over(table).find(token) is None
    assert table.calls == 0


@pytest.mark.parametrize("client_id", ["", "-a", "A", "a/b", "a.b", "a_b", "a" * 64, "a\n"])
def test_a_client_id_that_is_no_slug_is_refused(table: FakeDynamoDb, client_id: str) -> None:
    with pytest.raises(ValueError, match="a client id is"):
        store_over(table).issue(client_id, "x")
    assert table.calls == 0


def test_a_failing_table_is_a_storage_error() -> None:
    store = store_over(FakeDynamoDb(broken=True))
    token = "sd3_" + "x" * 43
    for action in (lambda: store.issue("a", "a"), lambda: store.find(token)):
        with pytest.raises(StorageError):
            action()
    with pytest.raises(StorageError):
        store.revoke(token)
