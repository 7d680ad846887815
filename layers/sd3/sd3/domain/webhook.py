"""Webhooks: where a client wants to hear of the end of its jobs, and how its messages are signed.

The signatures are those of Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.
"""

import base64
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from sd3.domain.client_url import MAX_URL, UrlError, read_url
from sd3.domain.record import Record

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - it is what every secret begins with

MAX_KEEP_OLD: Final = timedelta(days=7)
"""The longest time in which messages are signed with a secret that was replaced, too."""


class WebhookEvent(StrEnum):
    """What a webhook can tell."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    TEST = "webhook.test"


JOB_EVENTS: Final = (WebhookEvent.SUCCEEDED, WebhookEvent.FAILED, WebhookEvent.CANCELED)


_CLOSED: Final[dict[str, Any]] = {"additionalProperties": False}


def _checked_url(text: str) -> str:
    """Check the form of a URL. What its host leads to is asked at each attempt."""
    try:
        read_url(text)
    except UrlError as error:
        raise PydanticCustomError("url", "{reason}", {"reason": str(error)}) from error
    return text


def _job_event(event: object) -> object:
    """Refuse the test too, which POST /webhook/test alone sends. The words are pydantic's."""
    if event not in JOB_EVENTS:
        *others, last = (f"'{each}'" for each in JOB_EVENTS)
        allowed = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("enum", "Input should be {allowed}", {"allowed": allowed})
    return event


def _checked_events(events: tuple[WebhookEvent, ...]) -> tuple[WebhookEvent, ...]:
    if not events:  # min_length would count events that were refused as missing, too
        raise PydanticCustomError("too_short", "should name one event at least")
    if len(set(events)) < len(events):
        raise PydanticCustomError("event", "should name each event once")
    return events


JobEvent = Annotated[WebhookEvent, BeforeValidator(_job_event)]


class WebhookRequest(BaseModel):
    """PUT /webhook, and the field webhook of a request: where to send what."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_CLOSED)

    url: Annotated[str, AfterValidator(_checked_url)] = Field(
        max_length=MAX_URL,
        repr=False,
        description="An https URL of a public host, on port 443 or 1024 and above.",
    )
    events: Annotated[tuple[JobEvent, ...], AfterValidator(_checked_events)] = Field(
        default=JOB_EVENTS,
        max_length=3,
        json_schema_extra={
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "enum": list(JOB_EVENTS)},
        },
        description="What to send.",
    )


def stored_request(values: Mapping[str, Any]) -> WebhookRequest | None:
    """Read the webhook of a stored request that some version accepted; None if this one cannot."""
    known = {name: values[name] for name in WebhookRequest.model_fields if name in values}
    if isinstance(events := known.get("events"), list):
        known["events"] = [event for event in events if event in JOB_EVENTS]
    try:
        return WebhookRequest.model_validate(known)
    except ValidationError:
        return None


class Webhook(Record):
    """A client's own settings: its endpoint, if it has one, and the versions of its secret.

    Times are UTC. `given_up` counts the deliveries to the endpoint that were given up since the
    last one that arrived; too many of them disable it. Until `old_until`, messages are signed with
    the secret of `old_version` too. `events` can have some that only a later version knows.
    """

    client_id: str
    url: str | None = None
    events: tuple[str, ...] = JOB_EVENTS
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    given_up: int = 0
    secret_version: int = 1
    old_version: int | None = None
    old_until: datetime | None = None
    version: int = 0

    @property
    def is_enabled(self) -> bool:
        """Whether there is an endpoint that messages are sent to."""
        return self.url is not None and self.disabled_at is None

    def wants(self, event: WebhookEvent) -> bool:
        """Return whether the endpoint is to hear of an event, which is logged if it is disabled."""
        return self.url is not None and event in self.events

    def set(self, url: str, events: tuple[WebhookEvent, ...]) -> Self:
        """Set the endpoint, which also enables it again."""
        changes = {"url": url, "events": events, "given_up": 0}
        return self.model_copy(update=changes | {"disabled_at": None, "disabled_reason": None})

    def remove(self) -> Self:
        """Remove the endpoint. The secret stays: requests can name endpoints of their own."""
        return self.set("", JOB_EVENTS).model_copy(update={"url": None})

    def disable(self, reason: str, *, now: datetime) -> Self:
        """Stop messages until the client sets the endpoint again."""
        return self.model_copy(update={"disabled_at": now, "disabled_reason": reason})

    def rotate(self, *, now: datetime, keep_old: timedelta) -> Self:
        """Replace the secret, and sign with the old one too for a while."""
        return self.model_copy(
            update={
                "secret_version": self.secret_version + 1,
                "old_version": self.secret_version,
                "old_until": now + keep_old,
            }
        )

    def secret_versions(self, *, now: datetime) -> tuple[int, ...]:
        """Return the versions of the secret that sign now, the newest first."""
        if self.old_version is None or self.old_until is None or now >= self.old_until:
            return (self.secret_version,)
        return (self.secret_version, self.old_version)


def secret_of(master: bytes, client_id: str, version: int) -> str:
    """Derive a client's secret as Standard Webhooks writes it. So no secret is stored."""
    key = hmac.digest(master, f"webhook|{client_id}|{version}".encode(), "sha256")
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a message, whose `timestamp` has the seconds since 1970 of the attempt."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
