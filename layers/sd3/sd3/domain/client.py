"""Clients: their tokens, scopes and limits, and the context of one request of theirs.

It does not use pydantic: the authorizer needs no more than this, and its cold start adds to that
of every other function.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from sd3.errors import ForbiddenError

if TYPE_CHECKING:
    from sd3.domain.inbox import InboxOrigin
    from sd3.domain.job import Reproduction

GENERATE: Final = "generate"
"""Allows to generate images, and to cancel and delete jobs."""

READ: Final = "read"
"""Allows to read jobs, images and usage."""

SCOPES: Final = frozenset((GENERATE, READ))


MAX_WAIT_SECONDS: Final = 20
"""The longest wait for a job, well within the 29 s after which the gateway times out."""

UPLOADS_PER_MINUTE: Final = 100
"""The most forms for uploads, and images by URL, of a client. Each can bring 20 MB, and an upload
is kept for a day."""


class ClientLimits(NamedTuple):
    """How much a client may use. None is no limit."""

    daily_budget_micros: int | None = None
    """Micro-dollars a day."""
    requests_per_minute: int | None = None
    max_images: int | None = None
    """The largest num_images of a request."""
    total_daily_budget_micros: int | None = None
    """Micro-dollars a day of all clients with JWTs together."""

    @classmethod
    def from_context(cls, context: Mapping[str, str]) -> Self:
        """Read the limits from an authorizer's context. A name that is missing is no limit."""
        return cls(**{name: int(context[name]) for name in cls._fields if name in context})

    def without_budgets(self) -> Self:
        """Return the limits of what costs nothing."""
        return self._replace(daily_budget_micros=None, total_daily_budget_micros=None)

    def to_context(self) -> dict[str, str]:
        """Write the limits that are set, by name, in decimal."""
        return {name: str(value) for name, value in self._asdict().items() if value is not None}


NO_LIMITS: Final = ClientLimits()


class Client(NamedTuple):
    """A client with an active token, and what that token allows."""

    client_id: str
    name: str
    scopes: frozenset[str] = SCOPES
    limits: ClientLimits = NO_LIMITS
    display_name: str | None = None
    """What the access log and the usage table show beside the id, if the operator asked for it."""


def require(scope: str, scopes: frozenset[str]) -> None:
    """Raise ForbiddenError unless `scope` is one of `scopes`."""
    if scope not in scopes:
        raise ForbiddenError(f"This takes a token with the scope {scope}.")


CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A client id is part of object keys, so it has neither slashes nor dots."""

JWT_CLIENTS: Final = "_jwt"
"""All clients with JWTs together, in the ledger. No client has this id."""


class Token(NamedTuple):
    """One of a client's tokens, by its hash. Times are UTC.

    The limits are the client's. Each of its active tokens has a copy of them: the authorizer reads
    one item only.
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
        """Whether the token is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class CacheControl(NamedTuple):
    """What a request's Cache-Control says of results that the client already has."""

    reads: bool = True
    """Whether an earlier result may answer it."""
    stores: bool = True
    """Whether its result may answer later requests."""
    only_if_cached: bool = False
    """Whether nothing is generated if no earlier result answers it."""
    max_age: int | None = None
    """The most seconds since the result was generated; None for any."""


class RequestContext(NamedTuple):
    """Who asks for images, and how."""

    client_id: str
    job_id: str
    """The id of the job that this call makes."""
    seconds: float
    """How long the caller's function still runs."""
    idempotency_key: str | None = None
    respond_async: bool = False
    client_name: str | None = None
    """The client's display name, if it has one."""
    inbox: "InboxOrigin | None" = None
    limits: ClientLimits = NO_LIMITS
    hold_until: datetime | None = None
    """How long a caller that knows no 202 is held until its job ends; None for all others."""
    scaled_size: tuple[int, int] | None = None
    """The pixels that the generated images are scaled to; None to keep them as they are."""
    reproduction: "Reproduction | None" = None
    """The job that this call generates again; None for a request of its own."""
    cache: CacheControl = CacheControl()
    cancel_after: timedelta | None = None
    """The time after which the job is canceled if it has not begun; None for no such time."""
