"""A request as API Gateway passes it on: its client, path, query, headers and body."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sd3.api.accept import best_image_type, prefers_json
from sd3.api.body import read_body
from sd3.domain.client import MAX_WAIT_SECONDS, SCOPES, CacheControl, ClientLimits
from sd3.domain.json_body import parse_json
from sd3.errors import FieldError, InvalidRequestError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

MAX_KEY: Final = 255

_MAX_NAME: Final = 64
"""Longest name of a parameter or field that a response repeats."""

_MAX_FIELDS: Final = 100
"""Most fields of a body. More of them are one error, not one each."""

_PREFERENCE: Final = re.compile(r'(?:[^,"]|"[^"]*"|")+')

_ENTITY_TAG: Final = re.compile(r'"[^"]*"')

_SECONDS: Final = re.compile("[0-9]{1,10}")

CANCEL_AFTER: Final = re.compile(r"(?=.)(?:([0-9]{1,2})h)?(?:([0-9]{1,4})m)?(?:([0-9]{1,5})s?)?")
"""Seconds, or a time as Replicate's API has it: `90`, `90s`, `1m30s`, `1h`."""

MAX_CANCEL_AFTER: Final = timedelta(days=1)
"""Longer than a job can wait."""

_CACHE_BUSTER: Final = "_"
"""A parameter that jQuery adds to GET and HEAD, so that no cache answers. It means nothing."""

Fields = TypeVar("Fields", bound=BaseModel)


class NoQuery(BaseModel):
    """The query of a route without parameters."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Request:
    """The gateway's event, and the seconds until Lambda ends the function."""

    event: "APIGatewayProxyEvent" = field(repr=False)
    seconds: float

    @property
    def id(self) -> str:
        """The gateway's id of this request, which no client can choose.

        A job that the request makes has the same id, without the padding.
        """
        return str(self.event.request_context.extended_request_id)

    @property
    def client_id(self) -> str:
        """The client that the authorizer found for the token; empty if it was not asked."""
        return str(self._authorizer.get("client_id") or "")

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the token. A context without scopes, of an older authorizer, has all."""
        named = self._authorizer.get("scopes")
        return SCOPES if named is None else frozenset(named.split())

    @property
    def client_name(self) -> str | None:
        """The client's display name, if the authorizer gave one."""
        name: str | None = self._authorizer.get("client_name")
        return name

    @property
    def limits(self) -> ClientLimits:
        """The client's limits."""
        return ClientLimits.from_context(self._authorizer)

    @property
    def _authorizer(self) -> Mapping[str, Any]:
        """The authorizer's context. An open route has none."""
        found = self.event["requestContext"].get("authorizer")
        return found if isinstance(found, Mapping) else {}

    def query(self, model: type[Fields]) -> Fields:
        """Read the query parameters as `model`; each may occur once.

        A parameter of `model` that is empty counts as not given, as forms send it, unless the model
        has a least length of texts. Raises InvalidRequestError with every field_error at once.
        """
        values: dict[str, Any] = dict(self.event.query_string_parameters)
        for name, texts in self.event.multi_value_query_string_parameters.items():
            # What was given twice stays a list, which is no value of any parameter.
            values[name] = texts[0] if len(texts) == 1 else texts
        if self.event.get("httpMethod") in {"GET", "HEAD"}:
            values.pop(_CACHE_BUSTER, None)
        # The name of an unknown parameter counts although it is empty: `?dry_run` means something.
        known = {""} if model.model_config.get("str_min_length") else {"", *model.model_fields}
        given = {name: text for name, text in values.items() if text != "" or name not in known}
        return checked(model, given, "query")

    def body(self, model: type[Fields]) -> Fields:
        """Read the JSON body, an object, as `model`.

        Raises what json_body does, and InvalidRequestError with every field_error at once.
        """
        values = parse_json(self.json_body())
        if not isinstance(values, dict) or len(values) > _MAX_FIELDS:
            msg = f"Input should be an object of at most {_MAX_FIELDS} fields"
            raise InvalidRequestError([FieldError(("body",), msg, "dict_type")])
        return checked(model, values, "body")

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

    def cache_control(self) -> CacheControl:
        """Read Cache-Control (RFC 9111). Directives that say nothing here are ignored.

        A max-age that cannot be read asks for a new result, as 0 does.
        """
        parts = ",".join(self.headers("Cache-Control")).lower().split(",")
        pairs = (part.partition("=") for part in parts)
        given = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
        max_age = None
        if "max-age" in given:
            max_age = int(given["max-age"]) if _SECONDS.fullmatch(given["max-age"]) else 0
        stores = "no-store" not in given
        return CacheControl(
            reads=stores and "no-cache" not in given and max_age != 0,
            stores=stores,
            only_if_cached="only-if-cached" in given,
            max_age=max_age,
        )

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

    def cancel_after(self) -> timedelta | None:
        """Read Cancel-After, 1 s to a day. Raises InvalidRequestError for others, and for two."""
        texts = [text.strip().lower() for text in self.headers("Cancel-After")]
        if not texts:
            return None
        match = CANCEL_AFTER.fullmatch(texts[0]) if len(texts) == 1 else None
        if match:
            hours, minutes, seconds = (int(part or 0) for part in match.groups())
            after = timedelta(hours=hours, minutes=minutes, seconds=seconds)
            if timedelta(0) < after <= MAX_CANCEL_AFTER:
                return after
        msg = "should be 1 to 86400 seconds, as 60, 60s or 1m30s, once"
        raise InvalidRequestError([FieldError(("header", "Cancel-After"), msg, "cancel_after")])

    def prefers_json(self) -> bool:
        """Return whether Accept ranks application/json above images."""
        return prefers_json(",".join(self.headers("Accept")))

    def accepted_image(self) -> str:
        """Return the best of the types of renditions that Accept names; JPEG if it names none."""
        return best_image_type(",".join(self.headers("Accept")))

    def json_body(self) -> bytes | str:
        """Return the body as the client wrote it; see read_body, which raises its errors."""
        return read_body(
            self.event.body or "",
            is_base64=bool(self.event.is_base64_encoded),
            content_types=self.headers("Content-Type"),
            encodings=self.headers("Content-Encoding"),
        )


def checked(model: type[Fields], values: Mapping[str, Any], place: str) -> Fields:
    """Read values as `model`. Raises InvalidRequestError with every field_error at once."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        field_errors = [
            FieldError((place, str(e["loc"][0])[:_MAX_NAME]), e["msg"], e["type"]) for e in errors
        ]
        raise InvalidRequestError(field_errors) from error
