"""A request as API Gateway passes it on: its client, path, query, headers and body."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

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

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""What Lambda accepts. On AWS a larger body never gets here."""

MAX_KEY: Final = 255

MAX_WAIT_SECONDS: Final = 20
"""Well within the 29 s after which the gateway times out."""

_MAX_NAME: Final = 64
"""Longest name of a parameter or field that a response repeats."""

_MAX_FIELDS: Final = 100
"""Most fields of a body. More of them are one error, not one each."""

_PREFERENCE: Final = re.compile(r'(?:[^,"]|"[^"]*"|")+')

_ENTITY_TAG: Final = re.compile(r'"[^"]*"')

Fields = TypeVar("Fields", bound=BaseModel)


@dataclass(frozen=True)
class Request:
    """The gateway's event, and the seconds until Lambda ends the function."""

    event: "APIGatewayProxyEvent" = field(repr=False)
    seconds: float

    @property
    def id(self) -> str:
        """The gateway's id of this request. A job that it makes has the same id."""
        return self.event.request_context.request_id

    @property
    def client_id(self) -> str:
        """The client that the authorizer found for the token."""
        return str(self.event.request_context.authorizer["client_id"])

    @property
    def is_open(self) -> bool:
        """Whether the route needs no token."""
        return not self.event.request_context.authorizer

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the token. A context without scopes, of an older authorizer, has all."""
        named = self.event.request_context.authorizer.get("scopes")
        return SCOPES if named is None else frozenset(named.split())

    @property
    def client_name(self) -> str | None:
        """The client's display name, if the authorizer gave one."""
        name: str | None = self.event.request_context.authorizer.get("client_name")
        return name

    @property
    def limits(self) -> ClientLimits:
        """The client's limits."""
        return ClientLimits.from_context(self.event.request_context.authorizer)

    def query(self, model: type[Fields]) -> Fields:
        """Read the query parameters as `model`; each may occur once.

        Raises InvalidRequestError with every field_error at once.
        """
        values: dict[str, Any] = dict(self.event.query_string_parameters)
        for name, texts in self.event.multi_value_query_string_parameters.items():
            # What was given twice stays a list, which is no value of any parameter.
            values[name] = texts[0] if len(texts) == 1 else texts
        return _checked(model, values, "query")

    def body(self, model: type[Fields]) -> Fields:
        """Read the JSON body, an object, as `model`.

        Raises what json_body does, and InvalidRequestError with every field_error at once.
        """
        values = parse_json(self.json_body())
        if not isinstance(values, dict) or len(values) > _MAX_FIELDS:
            msg = f"Input should be an object of at most {_MAX_FIELDS} fields"
            raise InvalidRequestError([FieldError(("body",), msg, "dict_type")])
        return _checked(model, values, "body")

    def header(self, name: str) -> str | None:
        """Return the last value of a header, by its name in any case; None when it was not sent."""
        return self.event.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Return every value of a header that can be sent more than once, in order.

        Names that differ in case are one header. Powertools would keep the last of them only.
        """
        sent: Mapping[str, list[str]] = self.event.get("multiValueHeaders") or {}
        named = (texts for key, texts in sent.items() if key.lower() == name.lower())
        values = [text for texts in named for text in texts]
        last = self.header(name)
        return values or ([] if last is None else [last])

    def prefers(self, name: str) -> str | None:
        """Return the first value of a preference in Prefer (RFC 7240); None if it is not there."""
        for preference in _PREFERENCE.findall(",".join(self.headers("Prefer"))):
            said, _, value = preference.partition(";")[0].partition("=")
            if said.strip().lower() == name:
                return str(value.strip().strip('"'))
        return None

    def wait_seconds(self) -> int | None:
        """Read `Prefer: wait=N`, 0 to 20 seconds. Raises InvalidRequestError for other values."""
        text = self.prefers("wait")
        if text is None:
            return None
        if re.fullmatch("[0-9]{1,2}", text) and int(text) <= MAX_WAIT_SECONDS:
            return int(text)
        msg = f"wait should be 0 to {MAX_WAIT_SECONDS} whole seconds"
        raise InvalidRequestError([FieldError(("header", "Prefer"), msg, "wait")])

    def known_tags(self) -> frozenset[str]:
        """Read the entity tags of If-None-Match, without W/: compared weakly; `*` is any."""
        text = ",".join(self.headers("If-None-Match"))
        return frozenset(["*"] if text.strip() == "*" else _ENTITY_TAG.findall(text))

    def idempotency_key(self) -> str | None:
        """Read the Idempotency-Key. Raises InvalidRequestError for a wrong one, or for two."""
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
        """Return the body as it came.

        Raises UnsupportedMediaTypeError, TooLargeError, and InvalidJsonError for what no decoder
        can read.
        """
        media_type = (self.header("Content-Type") or "application/json").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaTypeError("The body must be application/json.")
        body = self.event.body or ""
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
        if not self.event.is_base64_encoded:
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
