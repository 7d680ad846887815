"""The clients of the service, by the bearer tokens that they send."""

import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from sd3.access import Client
from sd3.aws import Aws
from sd3.errors import StorageError
from sd3.settings import Settings
from sd3.token_items import Token, token_from

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sd3.issuer import Issuer

BY_CLIENT_ID: Final = "by_client_id"
"""The index of tokens by their client."""

CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""It is a part of object keys, so it holds neither slashes nor dots."""
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
        try:
            answer = self._client.get_item(
                TableName=self._table, Key={"token_sha256": {"S": sha256_of(token)}}
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The clients' table could not be read.") from error
        if "Item" not in answer:
            return None
        found = token_from(answer["Item"])
        if not found.works(now=self._now()):
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
        tokens = [token for token in self._tokens(client_id) if token.works(now=now)]
        if not tokens:
            return None
        newest = max(tokens, key=lambda token: token.created_at)
        scopes = frozenset(scope for token in tokens for scope in token.scopes)
        return Client(client_id, newest.name, scopes, newest.limits)

    def _tokens(self, client_id: str) -> list[Token]:
        """A client's tokens: one page, since 1 MB holds thousands."""
        try:
            answer = self._client.query(
                TableName=self._table,
                IndexName=BY_CLIENT_ID,
                KeyConditionExpression="client_id = :client",
                FilterExpression="attribute_not_exists(revoked_at)",
                ExpressionAttributeValues={":client": {"S": client_id}},
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The clients' table could not be read.") from error
        return [token_from(item) for item in answer["Items"]]


@cache
def clients() -> ClientStore:
    """The clients of this deployment; not in bootstrap, whose imports would slow an authorizer."""
    return ClientStore(Aws().dynamodb, Settings.from_env(os.environ).clients_table)


@cache
def issuer() -> "Issuer | None":
    """The issuer whose JWTs this deployment takes, if there is one."""
    settings = Settings.from_env(os.environ)
    if not settings.jwt_issuer:
        return None
    from sd3.issuer import Issuer  # noqa: PLC0415 - a cold start of 0.2 s that only a JWT needs

    return Issuer(settings.jwt_issuer, audience=settings.jwt_audience)


def sha256_of(token: str) -> str:
    """What is kept of a token, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()
