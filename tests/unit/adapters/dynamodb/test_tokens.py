"""Tokens and the clients that hold them, over a fake of the one table that they need."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sd3.adapters.dynamodb.tokens import ClientStore, item_from, sha256_of, token_from
from sd3.domain.client import GENERATE, READ, SCOPES, Client, ClientLimits, Token
from sd3.errors import StorageError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOKEN = "sd3_" + "x" * 43
SECOND = timedelta(seconds=1)
LIMITS = ClientLimits(daily_budget_micros=1, requests_per_minute=2, max_images=3)


class FakeDynamoDb:
    """A table of tokens; it counts its calls, and fails if it is broken."""

    def __init__(self, *tokens: Token, broken: bool = False) -> None:
        self.items = {token.sha256: item_from(token) for token in tokens}
        self.calls = 0
        self.broken = broken

    def _called(self, operation: str) -> None:
        self.calls += 1
        if self.broken:
            raise ClientError({"Error": {"Code": "InternalServerError"}}, operation)

    def get_item(self, *, TableName: str, Key: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._called("GetItem")
        item = self.items.get(Key["token_sha256"]["S"])
        return {"Item": item} if item else {}

    def query(self, *, ExpressionAttributeValues: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._called("Query")
        wanted = ExpressionAttributeValues[":client"]
        return {"Items": [i for i in self.items.values() if i["client_id"] == wanted]}


def token(client_id: str = "acme", *, sha256: str = sha256_of(TOKEN), **known: Any) -> Token:
    return Token(sha256, client_id, "Acme", **{"created_at": NOW - SECOND, **known})


def store_over(*tokens: Token, broken: bool = False) -> tuple[ClientStore, FakeDynamoDb]:
    table: Any = FakeDynamoDb(*tokens, broken=broken)
    return ClientStore(table, "clients", now=lambda: NOW), table


def test_a_token_finds_its_client_and_what_it_may_do() -> None:
    store, _ = store_over(token(scopes=frozenset([READ]), limits=LIMITS, expires_at=NOW + SECOND))
    assert store.find(TOKEN) == Client("acme", "Acme", frozenset([READ]), LIMITS)


def test_a_token_of_before_there_were_scopes_may_do_all() -> None:
    store, table = store_over(token())
    del table.items[sha256_of(TOKEN)]["scopes"]
    assert store.find(TOKEN) == Client("acme", "Acme", SCOPES, ClientLimits())


@pytest.mark.parametrize(
    "ended",
    [{"revoked_at": NOW - SECOND}, {"expires_at": NOW}, {"expires_at": NOW - timedelta(days=9)}],
)
def test_an_ended_token_has_no_client(ended: dict[str, Any]) -> None:
    store, _ = store_over(token(**ended))
    assert store.find(TOKEN) is None
    assert store.get("acme") is None


def test_an_unknown_token_has_no_client() -> None:
    assert store_over()[0].find(TOKEN) is None


@pytest.mark.parametrize(
    "text",
    ["", "sd3_", "a.b.c", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), TOKEN.replace("x", "é")],
)
def test_a_malformed_token_costs_no_read(text: str) -> None:
    store, table = store_over()
    assert store.find(text) is None
    assert table.calls == 0


def test_a_client_may_do_what_its_tokens_may_together() -> None:
    store, _ = store_over(
        token(sha256="a", scopes=frozenset([READ]), limits=ClientLimits(max_images=1)),
        token(sha256="b", scopes=frozenset([GENERATE]), created_at=NOW, limits=LIMITS),
        token(sha256="c", revoked_at=NOW, created_at=NOW + SECOND),
        token("other", sha256="d"),
    )
    assert store.get("acme") == Client("acme", "Acme", SCOPES, LIMITS)
    assert store.get("nobody") is None


@pytest.mark.parametrize("client_id", ["", "-a", "A", "a/b", "a.b", "a_b", "a" * 64, "a\n"])
def test_what_is_no_clients_id_costs_no_read(client_id: str) -> None:
    store, table = store_over()
    assert store.get(client_id) is None
    assert table.calls == 0


def test_a_failing_table_is_a_storage_error() -> None:
    store, _ = store_over(broken=True)
    with pytest.raises(StorageError):
        store.find(TOKEN)
    with pytest.raises(StorageError):
        store.get("acme")


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"expires_at": NOW, "revoked_at": NOW, "scopes": frozenset([READ])},
        {"limits": ClientLimits(0, 1, 16)},
        {"limits": ClientLimits(requests_per_minute=7)},
    ],
)
def test_a_token_is_read_as_it_was_written(known: dict[str, Any]) -> None:
    assert token_from(item_from(token(**known))) == token(**known)
