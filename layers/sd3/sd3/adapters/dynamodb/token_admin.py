"""The administration of clients' tokens. Only operators use it, and no function."""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.aws import storage_errors
from sd3.adapters.dynamodb.table import to_item
from sd3.adapters.dynamodb.tokens import item_from, sha256_of, token_from
from sd3.domain.client import CLIENT_ID, SCOPES, ClientLimits, Token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef, UpdateTypeDef

MAX_TOKENS: Final = 100
"""The most active tokens of one client: a transaction writes up to 100 items."""

_TOKEN_BYTES: Final = 32

_PREFIX: Final = re.compile(r"[0-9a-f]{1,64}")


class TokenStore:
    """Issues, lists and revokes tokens. It scans the whole table, which operators rarely do."""

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

    def issue(
        self,
        client_id: str,
        *,
        name: str | None = None,
        scopes: frozenset[str] = SCOPES,
        expires_at: datetime | None = None,
        limits: Mapping[str, int | None] | None = None,
    ) -> str:
        """Create a token for a client and return it. The token cannot be read again.

        A given name and given limits replace those of all active tokens of the client. A limit of
        None is removed. One transaction writes everything. Raises ValueError for an invalid
        argument or more than MAX_TOKENS active tokens, and StorageError.
        """
        now = self._now()
        _check(client_id, expires_at, now=now)
        known = self.of(client_id)
        active = [token for token in known if token.is_active(now=now)]
        if len(active) >= MAX_TOKENS:
            msg = f"a client has at most {MAX_TOKENS} active tokens: revoke some first"
            raise ValueError(msg)
        token = f"sd3_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        new = Token(
            sha256=sha256_of(token),
            client_id=client_id,
            name=name or (known[-1].name if known else client_id),
            created_at=now,
            expires_at=expires_at,
            scopes=scopes,
            limits=(known[-1].limits if known else ClientLimits())._replace(**(limits or {})),
        )
        self._write(new, [t for t in active if (t.name, t.limits) != (new.name, new.limits)])
        return token

    def all(self) -> list[Token]:
        """List every token, by client and then by age. Raises StorageError."""
        return sorted(self._read(), key=lambda token: (token.client_id, token.created_at))

    def of(self, client_id: str) -> list[Token]:
        """List the tokens of a client, by age. Raises StorageError."""
        return sorted(self._read(client_id), key=lambda token: token.created_at)

    def erase(self, client_id: str) -> None:
        """Remove all tokens of a client, revoked ones too. Raises StorageError."""
        for token in self.of(client_id):
            with storage_errors("Not every token could be removed."):
                self._client.delete_item(
                    TableName=self._table, Key=to_item({"token_sha256": token.sha256})
                )

    def revoke(self, client_id: str, prefix: str | None = None) -> int:
        """Revoke all tokens of a client, or the one whose hash begins with `prefix`.

        Returns how many of them were active. Raises ValueError when the client or token does not
        exist, or several tokens have the prefix. Raises StorageError, after which the same call can
        be repeated.
        """
        if prefix is not None and not _PREFIX.fullmatch(prefix):
            # The argument may be the token itself, so the message does not quote it.
            raise ValueError("a token is named by the id that it is listed with")
        known = list(self._read(client_id))
        if not known:
            msg = f"there is no client {client_id!r}"
            raise ValueError(msg)
        chosen = [token for token in known if token.sha256.startswith(prefix or "")]
        if prefix and len(chosen) != 1:
            msg = f"{len(chosen)} tokens of {client_id} begin with {prefix}"
            raise ValueError(msg)
        now = self._now()
        active = [token for token in chosen if token.is_active(now=now)]
        for token in active:
            self._revoke(token, now=now)
        return len(active)

    def _read(self, client_id: str | None = None) -> Iterator[Token]:
        """Read the table itself, since its index is only eventually consistent."""
        chosen: dict[str, Any] = {}
        if client_id is not None:
            chosen = {
                "FilterExpression": "client_id = :client",
                "ExpressionAttributeValues": to_item({":client": client_id}),
            }
        with storage_errors("The clients' table could not be read."):
            pages = self._client.get_paginator("scan").paginate(
                TableName=self._table, ConsistentRead=True, **chosen
            )
            for page in pages:
                yield from map(token_from, page["Items"])

    def _write(self, new: Token, outdated: list[Token]) -> None:
        """Write a new token, and update the name and limits of the client's outdated tokens."""
        items: list[TransactWriteItemTypeDef] = [
            {"Update": self._update(token, new)} for token in outdated
        ]
        put: PutTypeDef = {
            "TableName": self._table,
            "Item": item_from(new),
            "ConditionExpression": "attribute_not_exists(token_sha256)",
        }
        with storage_errors("The token could not be stored."):
            self._client.transact_write_items(TransactItems=[{"Put": put}, *items])

    def _update(self, token: Token, new: Token) -> "UpdateTypeDef":
        limits = {name: value for name, value in new.limits._asdict().items() if value is not None}
        removed = [name for name in ClientLimits._fields if name not in limits]
        sets = ["#name = :name", *(f"{name} = :{name}" for name in limits)]
        removes = f" REMOVE {', '.join(removed)}" if removed else ""
        return {
            "TableName": self._table,
            "Key": to_item({"token_sha256": token.sha256}),
            "UpdateExpression": f"SET {', '.join(sets)}{removes}",
            "ConditionExpression": "attribute_exists(token_sha256)",
            "ExpressionAttributeNames": {"#name": "name"},  # a reserved word
            "ExpressionAttributeValues": to_item(
                {
                    ":name": new.name,
                    **{f":{name}": value for name, value in limits.items()},
                }
            ),
        }

    def _revoke(self, token: Token, *, now: datetime) -> None:
        with storage_errors("Not every token could be revoked."):
            self._client.update_item(
                TableName=self._table,
                Key=to_item({"token_sha256": token.sha256}),
                UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
                ConditionExpression="attribute_exists(token_sha256)",
                ExpressionAttributeValues=to_item({":now": now.isoformat()}),
            )


def _check(client_id: str, expires_at: datetime | None, *, now: datetime) -> None:
    if not CLIENT_ID.fullmatch(client_id):
        msg = f"a client id is 1 to 63 of a-z, 0-9 and -, not starting with -: {client_id!r}"
        raise ValueError(msg)
    if expires_at and expires_at <= now:
        msg = f"{expires_at.isoformat()} is past"
        raise ValueError(msg)
