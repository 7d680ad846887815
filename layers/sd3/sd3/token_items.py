"""A token as an item of the clients' table, and back. The token itself is in neither."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sd3.access import SCOPES, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, Mapping[str, Any]]


class Token(NamedTuple):
    """One of a client's tokens, by its hash. Times are UTC.

    The limits are the client's: each of its tokens that works has a copy of the same ones, so that
    the authorizer finds all it needs in one item.
    """

    sha256: str
    client_id: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    scopes: frozenset[str] = SCOPES
    limits: Limits = Limits()

    def works(self, *, now: datetime) -> bool:
        """Whether it was neither revoked nor has it expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


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
        limits=Limits.read({name: item[name]["N"] for name in Limits._fields if name in item}),
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
    return item | {name: {"N": text} for name, text in token.limits.told().items()}
