"""A request as API Gateway hands it to a function: its client, path, query, headers and body."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from sd3.domain.client import SCOPES, ClientLimits
from sd3.domain.json_body import parse_json
from sd3.errors import (
    FieldError,
    InvalidJsonError,
    InvalidRequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""What Lambda takes; a larger body never gets here on AWS."""

MAX_KEY: Final = 255

MAX_WAIT_SECONDS: Final = 20
"""Well within the 29 s after which the gateway answers for a function that is silent."""

_MAX_NAME: Final = 64
"""Of the name of a parameter or field that an answer repeats."""

_MAX_FIELDS: Final = 100
"""Of a body: more are one field_error, not one each."""

_PREFERENCE: Final = re.compile(r'(?:[^,"]|"[^"]*"|")+')

_ENTITY_TAG: Final = re.compile(r'"[^"]*"')

Fields = TypeVar("Fields", bound=BaseModel)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Request:
    """What a route is called with: the gateway's event, and the seconds until Lambda ends it."""

    event: Mapping[str, Any]
    seconds: float

    @property
    def id(self) -> str:
        """The gateway's id of this request; a job that it makes has the same."""
        return str(self.event["requestContext"]["requestId"])

    @property
    def client_id(self) -> str:
        """Whoever the authorizer found to hold the token."""
        return str(self.event["requestContext"]["authorizer"]["client_id"])

    @property
    def is_open(self) -> bool:
        """Whether the route asks for no token."""
        return not self.event["requestContext"].get("authorizer")

    @property
    def scopes(self) -> frozenset[str]:
        """What the client's token is for; all, where an authorizer of before them let it in."""
        told = self.event["requestContext"]["authorizer"].get("scopes")
        return SCOPES if told is None else frozenset(told.split())

    @property
    def limits(self) -> ClientLimits:
        """What the client may use."""
        return ClientLimits.from_context(self.event["requestContext"]["authorizer"])

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the path, by the names that the template gives them."""
        return self.event["pathParameters"] or {}

    def query(self, model: type[Fields]) -> Fields:
        """The query parameters as `model` has them, each given once.

        Raises InvalidRequestError with every field_error at once.
        """
        values = dict(self.event["queryStringParameters"] or {})
        for name, texts in (self.event.get("multiValueQueryStringParameters") or {}).items():
            # What was given twice stays a list, which is no value of any parameter.
            values[name] = texts[0] if len(texts) == 1 else texts
        return _checked(model, values, "query")

    def body(self, model: type[Fields]) -> Fields:
        """The JSON body, an object, as `model` has it.

        Raises what json_body does, and InvalidRequestError with every field_error at once.
        """
        values = parse_json(self.json_body())
        if not isinstance(values, dict) or len(values) > _MAX_FIELDS:
            msg = f"Input should be an object of at most {_MAX_FIELDS} fields"
            raise InvalidRequestError([FieldError(("body",), msg, "dict_type")])
        return _checked(model, values, "body")

    def header(self, name: str) -> str | None:
        """A header, whatever the case of its name, its last value; None when it was not sent."""
        return next(iter(_named(self.event["headers"], name)), None)

    def headers(self, name: str) -> list[str]:
        """Every value of a header that can be sent more than once, in order."""
        sent = _named(self.event.get("multiValueHeaders"), name)
        return [text for texts in sent for text in texts] or _named(self.event["headers"], name)

    def prefers(self, name: str) -> str | None:
        """What Prefer (RFC 7240) says of a preference, first; None if it says nothing of it."""
        for preference in _PREFERENCE.findall(",".join(self.headers("Prefer"))):
            said, _, value = preference.partition(";")[0].partition("=")
            if said.strip().lower() == name:
                return str(value.strip().strip('"'))
        return None

    def wait_seconds(self) -> int | None:
        """`Prefer: wait=N`, 0 to 20 seconds; InvalidRequestError for what is not such a time."""
        text = self.prefers("wait")
        if text is None:
            return None
        if re.fullmatch("[0-9]{1,2}", text) and int(text) <= MAX_WAIT_SECONDS:
            return int(text)
        msg = f"wait should be 0 to {MAX_WAIT_SECONDS} whole seconds"
        raise InvalidRequestError([FieldError(("header", "Prefer"), msg, "wait")])

    def known_tags(self) -> frozenset[str]:
        """The entity tags of If-None-Match, without W/: they are compared weakly; or `*`."""
        text = ",".join(self.headers("If-None-Match"))
        return frozenset(["*"] if text.strip() == "*" else _ENTITY_TAG.findall(text))

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key, 1 to 255 printable ASCII characters; InvalidRequestError else."""
        keys = self.headers("Idempotency-Key")
        if not keys:
            return None
        key = keys[0]
        if len(keys) == 1 and 0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable():
            return key
        msg = f"should be 1 to {MAX_KEY} printable ASCII characters, once"
        raise InvalidRequestError(
            [FieldError(("header", "Idempotency-Key"), msg, "idempotency_key")]
        )

    def json_body(self) -> bytes | str:
        """The body as it came.

        Raises UnsupportedMediaTypeError, TooLargeError, and InvalidJsonError for what no decoder
        can read.
        """
        media_type = (self.header("Content-Type") or "application/json").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaTypeError("The body must be application/json.")
        body: str = self.event["body"] or ""
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
        if not self.event.get("isBase64Encoded"):
            return body
        try:
            return base64.b64decode(body, validate=True)
        except ValueError as error:
            raise InvalidJsonError("The body is not JSON.") from error


def _checked(model: type[Fields], values: Mapping[str, Any], place: str) -> Fields:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        field_errors = [
            FieldError((place, str(e["loc"][0])[:_MAX_NAME]), e["msg"], e["type"]) for e in errors
        ]
        raise InvalidRequestError(field_errors) from error


def _named(headers: Mapping[str, Value] | None, name: str) -> list[Value]:
    wanted = name.lower()
    return [value for key, value in (headers or {}).items() if key.lower() == wanted]
