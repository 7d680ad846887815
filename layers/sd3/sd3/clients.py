"""The clients of the service and their bearer tokens, of which only hashes are kept."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from sd3.aws import Aws
from sd3.errors import StorageError
from sd3.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BY_CLIENT_ID: Final = "by_client_id"
"""The index of tokens by their client."""

_TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(r"sd3_[A-Za-z0-9_-]{43}")
"""32 random bytes are 43 characters of base64 without padding."""
_CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""It is a part of object keys, so it holds neither slashes nor dots."""


class Client(NamedTuple):
    """Whoever holds a valid token."""

    client_id: str
    name: str


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

    def issue(self, client_id: str, name: str) -> str:
        """Make a new token for a client; it cannot be read again.

        Raises ValueError for a client_id that is no slug, StorageError when it was not kept.
        """
        if not _CLIENT_ID.fullmatch(client_id):
            msg = f"a client id is 1 to 63 of a-z, 0-9 and -, not starting with -: {client_id!r}"
            raise ValueError(msg)
        token = f"sd3_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    "token_sha256": {"S": _sha256(token)},
                    "client_id": {"S": client_id},
                    "name": {"S": name},
                    "created_at": {"S": self._now().isoformat()},
                },
                ConditionExpression="attribute_not_exists(token_sha256)",
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The token could not be stored.") from error
        return token

    def find(self, token: str) -> Client | None:
        """The client that holds `token`; None for a malformed, unknown or revoked one.

        Raises StorageError when the table cannot be read.
        """
        if not _TOKEN.fullmatch(token):
            return None
        try:
            answer = self._client.get_item(
                TableName=self._table, Key={"token_sha256": {"S": _sha256(token)}}
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The clients' table could not be read.") from error
        item = answer.get("Item")
        if item is None or "revoked_at" in item:
            return None
        return Client(item["client_id"]["S"], item["name"]["S"])

    def exists(self, client_id: str) -> bool:
        """Whether a client has a token that was not revoked, as far as the index knows yet.

        Raises StorageError when the table cannot be read.
        """
        if not _CLIENT_ID.fullmatch(client_id):
            return False
        try:
            answer = self._client.query(
                TableName=self._table,
                IndexName=BY_CLIENT_ID,
                KeyConditionExpression="client_id = :client",
                FilterExpression="attribute_not_exists(revoked_at)",
                ExpressionAttributeValues={":client": {"S": client_id}},
                Select="COUNT",
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The clients' table could not be read.") from error
        return answer["Count"] > 0

    def revoke(self, token: str) -> bool:
        """End a token, for good; False when there is no such token.

        Raises StorageError when the table cannot be written.
        """
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"token_sha256": {"S": _sha256(token)}},
                UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
                ConditionExpression="attribute_exists(token_sha256)",
                ExpressionAttributeValues={":now": {"S": self._now().isoformat()}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        except (BotoCoreError, ClientError) as error:
            raise StorageError("The token could not be revoked.") from error
        return True


@cache
def clients() -> ClientStore:
    """The clients of this deployment; not in bootstrap, whose imports would slow an authorizer."""
    return ClientStore(Aws().dynamodb, Settings.from_env(os.environ).clients_table)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
