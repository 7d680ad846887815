"""Clients: what their tokens allow, how much they may use, and how one of them asks.

Without pydantic: the authorizer, whose cold start is a part of every other's, needs no more.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from sd3.errors import ForbiddenError

if TYPE_CHECKING:
    from sd3.domain.job import InboxOrigin

GENERATE: Final = "generate"
"""To have images generated, and to end and remove what was."""

READ: Final = "read"
"""To look at jobs and images."""

SCOPES: Final = frozenset((GENERATE, READ))


class ClientLimits(NamedTuple):
    """What a client may use; None is no limit."""

    daily_budget_micros: int | None = None
    """Micro-dollars a day."""
    requests_per_minute: int | None = None
    max_images: int | None = None
    """The largest num_images of a request."""

    @classmethod
    def from_context(cls, context: Mapping[str, str]) -> Self:
        """Read the limits that `context` names, in decimal; what it does not name is no limit."""
        return cls(**{name: int(context[name]) for name in cls._fields if name in context})

    def to_context(self) -> dict[str, str]:
        """The limits that there are, by their names, in decimal."""
        return {name: str(value) for name, value in self._asdict().items() if value is not None}


NO_LIMITS: Final = ClientLimits()


class Client(NamedTuple):
    """Whoever holds a valid token, and what may be done with it."""

    client_id: str
    name: str
    scopes: frozenset[str] = SCOPES
    limits: ClientLimits = NO_LIMITS


def require(scope: str, scopes: frozenset[str]) -> None:
    """Raise ForbiddenError unless `scope` is one of `scopes`."""
    if scope not in scopes:
        raise ForbiddenError(f"This takes a token with the scope {scope}.")


CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""It is a part of object keys, so it holds neither slashes nor dots."""


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
    limits: ClientLimits = ClientLimits()

    def is_active(self, *, now: datetime) -> bool:
        """Whether it was neither revoked nor has it expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class RequestContext(NamedTuple):
    """Who asks for an image, and how."""

    client_id: str
    job_id: str
    """The id that a job made for this call gets."""
    seconds: float
    """How long the caller's function lives on."""
    idempotency_key: str | None = None
    respond_async: bool = False
    inbox: "InboxOrigin | None" = None
    limits: ClientLimits = NO_LIMITS
