"""The clients of the service, by the bearer tokens that they send."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.aws import storage_errors
from sd3.domain.client import CLIENT_ID, SCOPES, Client, ClientLimits, Token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

BY_CLIENT_ID: Final = "by_client_id"
"""The index of tokens by their client."""

_TOKEN: Final = re.compile(r"sd3_[A-Za-z0-9_-]{43}")
"""32 random bytes are 43 characters of base64 without padding."""


class ClientStore:
    """Tokens in a DynamoDB table, by their SHA-256: a stolen table opens nothing."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._table = table
        self._now = now

    def find(self, token: str) -> Client | None:
        """The client that holds `token`; None for a malformed, unknown, expired or revoked one.

        Raises StorageError when the table cannot be read.
        """
        if not _TOKEN.fullmatch(token):
            return None
        with storage_errors("The clients' table could not be read."):
            answer = self._client.get_item(
                TableName=self._table, Key={"token_sha256": {"S": sha256_of(token)}}
            )
        if "Item" not in answer:
            return None
        found = token_from(answer["Item"])
        if not found.is_active(now=self._now()):
            return None
        return Client(found.client_id, found.name, found.scopes, found.limits)

    def get(self, client_id: str) -> Client | None:
        """A client that has a token that works, as far as the index knows yet.

        Its scopes are those of all such tokens together. Raises StorageError when the table
        cannot be read.
        """
        if not CLIENT_ID.fullmatch(client_id):
            return None
        now = self._now()
        tokens = [token for token in self._tokens(client_id) if token.is_active(now=now)]
        if not tokens:
            return None
        newest = max(tokens, key=lambda token: token.created_at)
        scopes = frozenset(scope for token in tokens for scope in token.scopes)
        return Client(client_id, newest.name, scopes, newest.limits)

    def _tokens(self, client_id: str) -> list[Token]:
        """A client's tokens: one page, since 1 MB holds thousands."""
        with storage_errors("The clients' table could not be read."):
            answer = self._client.query(
                TableName=self._table,
                IndexName=BY_CLIENT_ID,
                KeyConditionExpression="client_id = :client",
                FilterExpression="attribute_not_exists(revoked_at)",
                ExpressionAttributeValues={":client": {"S": client_id}},
            )
        return [token_from(item) for item in answer["Items"]]


def sha256_of(token: str) -> str:
    """What is kept of a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


Item = Mapping[str, Mapping[str, Any]]


def token_from(item: Item) -> Token:
    """The token that an item holds; one of before there were scopes has all of them."""
    expires_at, revoked_at = (
        datetime.fromisoformat(item[name]["S"]) if name in item else None
        for name in ("expires_at", "revoked_at")
    )
    return Token(
        sha256=item["token_sha256"]["S"],
        client_id=item["client_id"]["S"],
        name=item["name"]["S"],
        created_at=datetime.fromisoformat(item["created_at"]["S"]),
        expires_at=expires_at,
        revoked_at=revoked_at,
        scopes=frozenset(item["scopes"]["SS"]) if "scopes" in item else SCOPES,
        limits=ClientLimits.from_context(
            {name: item[name]["N"] for name in ClientLimits._fields if name in item}
        ),
    )


def item_from(token: Token) -> "dict[str, AttributeValueTypeDef]":
    """The item of a token, which names what there is."""
    item: dict[str, AttributeValueTypeDef] = {
        "token_sha256": {"S": token.sha256},
        "client_id": {"S": token.client_id},
        "name": {"S": token.name},
        "created_at": {"S": token.created_at.isoformat()},
        "scopes": {"SS": sorted(token.scopes)},
    }
    for name in ("expires_at", "revoked_at"):
        if time := getattr(token, name):
            item[name] = {"S": time.isoformat()}
    return item | {name: {"N": text} for name, text in token.limits.to_context().items()}
