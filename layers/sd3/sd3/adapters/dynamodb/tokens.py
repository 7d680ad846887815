"""The clients table, in which the service finds clients by their bearer tokens."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.table import Item, from_item, to_item
from sd3.domain.client import CLIENT_ID, SCOPES, Client, ClientLimits, Token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

BY_CLIENT_ID: Final = "by_client_id"
"""The index of tokens by their client."""

_TOKEN: Final = re.compile(r"sd3_[A-Za-z0-9_-]{43}")
"""A token has 32 random bytes, which are 43 characters of base64 without padding."""


class ClientStore:
    """Clients in a DynamoDB table by the SHA-256 of their tokens. It stores no token itself."""

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
        """Find a client by its token; None if the token is malformed, unknown, expired or revoked.

        Raises StorageError when the table cannot be read.
        """
        if not _TOKEN.fullmatch(token):
            return None
        with storage_errors("The clients' table could not be read."):
            reply = self._client.get_item(
                TableName=self._table, Key=to_item({"token_sha256": sha256_of(token)})
            )
        if "Item" not in reply:
            return None
        found = token_from(reply["Item"])
        if not found.is_active(now=self._now()):
            return None
        return Client(found.client_id, found.name, found.scopes, found.limits)

    def get(self, client_id: str) -> Client | None:
        """Find a client that has an active token; None if the index has no such client (yet).

        The client has the scopes of all its active tokens. Raises StorageError when the table
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
        """Read a client's tokens. They fit in one page, since 1 MB has room for thousands."""
        with storage_errors("The clients' table could not be read."):
            reply = self._client.query(
                TableName=self._table,
                IndexName=BY_CLIENT_ID,
                KeyConditionExpression="client_id = :client",
                FilterExpression="attribute_not_exists(revoked_at)",
                ExpressionAttributeValues=to_item({":client": client_id}),
            )
        return [token_from(item) for item in reply["Items"]]


def sha256_of(token: str) -> str:
    """Return the hash under which a token is stored, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_from(item: Item) -> Token:
    """Read a token from its item. An item that is older than scopes has all of them."""
    values = from_item(item)
    expires_at, revoked_at = (
        datetime.fromisoformat(values[name]) if name in values else None
        for name in ("expires_at", "revoked_at")
    )
    return Token(
        sha256=values["token_sha256"],
        client_id=values["client_id"],
        name=values["name"],
        created_at=datetime.fromisoformat(values["created_at"]),
        expires_at=expires_at,
        revoked_at=revoked_at,
        scopes=frozenset(values.get("scopes", SCOPES)),
        limits=ClientLimits(**{name: values.get(name) for name in ClientLimits._fields}),
    )


def item_from(token: Token) -> "dict[str, AttributeValueTypeDef]":
    """Build the item of a token, without attributes that have no value."""
    values = {
        "token_sha256": token.sha256,
        "client_id": token.client_id,
        "name": token.name,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at and token.expires_at.isoformat(),
        "revoked_at": token.revoked_at and token.revoked_at.isoformat(),
        "scopes": token.scopes,
        **token.limits._asdict(),
    }
    return to_item({name: value for name, value in values.items() if value is not None})
