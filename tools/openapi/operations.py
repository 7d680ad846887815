"""The data that describe a route, and what many routes have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from sd3.errors import (
    ForbiddenError,
    InvalidJsonError,
    InvalidRequestError,
    RateLimitedError,
    Sd3Error,
    StorageBusyError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from tools.openapi.examples import Example

Schema = Mapping[str, Any]


class Parameter(NamedTuple):
    """A parameter of the path or a header of the request."""

    name: str
    location: str
    description: str
    schema: Schema


class Header(NamedTuple):
    """A header of a response; one that is not `always` there is optional."""

    name: str
    description: str
    schema: Schema
    always: bool = True


class Response(NamedTuple):
    """A response that is no error: one of `models`, or text of another type, or no body.

    A 200 without models and with an empty `media_type` has no body.
    """

    status: int
    description: str
    models: tuple[type[BaseModel], ...] = ()
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"
    example: Example | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route; `errors` have the codes and statuses of its failures.

    `body_examples` are requests by a title, the first of which works as it is. `other_errors` are
    the shape and the statuses of failures that are not in the service's own shape.
    """

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_examples: Mapping[str, Example] = field(default_factory=dict)
    responses: tuple[Response, ...]
    errors: tuple[type[Sd3Error], ...]
    other_errors: tuple[type[BaseModel], tuple[int, ...]] | None = None
    is_open: bool = False


TEXT: Final = {"type": "string"}

CACHE: Final = Header("Cache-Control", "Whether the answer may be kept.", TEXT)

ALWAYS: Final = (InvalidRequestError, RateLimitedError, Sd3Error)
WITH_TOKEN: Final = (UnauthorizedError, ForbiddenError, *ALWAYS)
STORED: Final = (*WITH_TOKEN, StorageBusyError)
WITH_BODY: Final = (InvalidJsonError, TooLargeError, UnsupportedMediaTypeError)
"""How a route can fail: any; one that needs a token; that also reads a table; that has a body."""
