"""What clients read of webhooks, and what receivers get."""

from typing import Final

from pydantic import BaseModel, Field

from sd3.domain.delivery import Delivery, DeliveryStatus
from sd3.domain.job import Job
from sd3.domain.webhook import Webhook, WebhookEvent
from sd3.responses.models import JobResponse, Time
from sd3.responses.render import Sign, job_response

MAX_MESSAGE_BYTES: Final = 20_000
"""The largest message to a webhook. Standard Webhooks recommends less than 20 kB."""


class WebhookResponse(BaseModel):
    """GET and PUT /webhook: the client's endpoint."""

    url: str
    events: list[WebhookEvent]
    disabled_at: Time | None = Field(
        description="Since when nothing is sent, until PUT /webhook enables it again."
    )
    disabled_reason: str | None


class WebhookSecretResponse(BaseModel):
    """GET /webhook/secret: what receivers verify messages with."""

    secret: str = Field(description="As libraries of Standard Webhooks take it.")
    old_secret_until: Time | None = Field(
        description="Until when messages are signed with the secret before it, too."
    )


class DeliveryAttemptResponse(BaseModel):
    """One attempt at a delivery."""

    at: Time
    status: int | None = Field(description="The status of the receiver's response.")
    error: str | None = Field(description="What went wrong, if there was no response.")
    ms: int


class DeliveryResponse(BaseModel):
    """A message to a webhook, and what became of it."""

    id: str = Field(description="The header webhook-id, the same at each attempt.")
    type: WebhookEvent
    created_at: Time = Field(description="When it happened.")
    job_id: str | None
    host: str | None = Field(description="The receiver's host, once there was an attempt.")
    status: DeliveryStatus
    reason: str | None = Field(description="Why it was given up or canceled.")
    next_at: Time | None = Field(description="When the next attempt is.")
    attempts: list[DeliveryAttemptResponse] = Field(description="The last 12, in order.")


class DeliveryListResponse(BaseModel):
    """GET /webhook/deliveries: a page of a client's deliveries, newest first."""

    deliveries: list[DeliveryResponse]
    next_cursor: str | None


class ReplayResponse(BaseModel):
    """POST /webhook/replay: how many deliveries began again."""

    replayed: int
    next_cursor: str | None = Field(
        description="Repeat the call with it as cursor; null if all have begun."
    )


class WebhookMessage(BaseModel):
    """What a receiver gets: Standard Webhooks' type, timestamp and data."""

    type: WebhookEvent
    timestamp: Time
    data: JobResponse | dict[str, str]


class WebhookDisabledEvent(BaseModel):
    """The event Webhook Disabled, for EventBridge."""

    client_id: str
    disabled_at: Time
    reason: str


def webhook_body(delivery: Delivery, job: Job | None, sign: Sign) -> bytes:
    """Render the message of a delivery. Links that make it too long are left out."""
    data: JobResponse | dict[str, str] = job_response(job, sign) if job else {}
    message = WebhookMessage(type=delivery.type, timestamp=delivery.created_at, data=data)
    body = message.model_dump_json().encode()
    if len(body) <= MAX_MESSAGE_BYTES or not isinstance(data, JobResponse):
        return body
    bare = [one.model_copy(update={"url": None, "expires_at": None}) for one in data.images]
    data = data.model_copy(update={"images": bare})
    return message.model_copy(update={"data": data}).model_dump_json().encode()


def webhook_response(webhook: Webhook) -> WebhookResponse:
    """Render a client's endpoint, which it has."""
    return WebhookResponse(
        url=webhook.url or "",
        events=[event for event in WebhookEvent if event in webhook.events],
        disabled_at=webhook.disabled_at,
        disabled_reason=webhook.disabled_reason,
    )


def delivery_response(delivery: Delivery) -> DeliveryResponse:
    """Render a delivery."""
    return DeliveryResponse.model_validate(delivery, from_attributes=True)
