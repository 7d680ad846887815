"""What the document tells of a route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

from sd3.errors import Sd3Error
from tools.openapi.examples import Example

Schema = Mapping[str, Any]


class Parameter(NamedTuple):
    """A parameter of the path or a header of the request."""

    name: str
    place: str
    description: str
    schema: Schema


class Header(NamedTuple):
    """A header of an answer; one that is not `always` there depends on the case."""

    name: str
    description: str
    schema: Schema
    always: bool = True


class Answer(NamedTuple):
    """An answer that is no error: one of `models`, or text of another type, or no body."""

    status: int
    description: str
    models: tuple[type[BaseModel], ...] = ()
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"
    example: Example | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route; `errors` have the codes and statuses that it can fail with.

    `body_examples` are requests by a title, the first of which works as it is.
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
    answers: tuple[Answer, ...]
    errors: tuple[type[Sd3Error], ...]
    is_open: bool = False
