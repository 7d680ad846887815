"""What a client may do: its scopes and its limits.

Without pydantic: the authorizer, whose cold start is a part of every other's, needs no more.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from sd3.errors import ForbiddenError

GENERATE: Final = "generate"
"""To have pictures drawn, and to end and remove what was."""
READ: Final = "read"
"""To look at jobs and pictures."""
SCOPES: Final = frozenset((GENERATE, READ))


class Limits(NamedTuple):
    """What a client may use; None is no limit."""

    daily_budget_micros: int | None = None
    """Micro-dollars a day."""
    requests_per_minute: int | None = None
    max_images: int | None = None
    """The largest num_images of a request."""

    @classmethod
    def read(cls, told: Mapping[str, str]) -> Self:
        """Read the limits that `told` names, in decimal; what it does not name is no limit."""
        return cls(**{name: int(told[name]) for name in cls._fields if name in told})

    def told(self) -> dict[str, str]:
        """The limits that there are, by their names, in decimal."""
        return {name: str(value) for name, value in self._asdict().items() if value is not None}


NO_LIMITS: Final = Limits()


class Client(NamedTuple):
    """Whoever holds a valid token, and what may be done with it."""

    client_id: str
    name: str
    scopes: frozenset[str] = SCOPES
    limits: Limits = NO_LIMITS


def require(scope: str, scopes: frozenset[str]) -> None:
    """Raise ForbiddenError unless `scope` is one of `scopes`."""
    if scope not in scopes:
        raise ForbiddenError(f"This takes a token with the scope {scope}.")
