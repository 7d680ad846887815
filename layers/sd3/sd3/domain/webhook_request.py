"""What clients send about webhooks, checked."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sd3.domain.delivery import DeliveryStatus
from sd3.domain.job_list import digits
from sd3.domain.webhook import MAX_KEEP_OLD


class RotateRequest(BaseModel):
    """POST /webhook/secret/rotate: for how long the old secret signs too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    keep_old_seconds: int = Field(
        default=86_400,
        ge=0,
        le=int(MAX_KEEP_OLD.total_seconds()),
        description="Seconds in which messages are signed with both secrets.",
    )


class ReplayRequest(BaseModel):
    """POST /webhook/replay: which deliveries to begin again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: datetime = Field(description="The earliest event.")
    until: datetime | None = Field(default=None, description="The latest event; now if null.")
    status: DeliveryStatus | None = Field(
        default=DeliveryStatus.FAILED, description="Deliveries of this end only; null for any."
    )


class DeliveriesQuery(BaseModel):
    """GET /webhook/deliveries: which of a client's deliveries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: DeliveryStatus | None = Field(default=None, description="In this state only.")
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = Field(
        default=20, description="Deliveries of a page, at most."
    )
    cursor: str | None = Field(
        default=None, pattern="^msg_[0-9a-z]{26}$", description="next_cursor of the page before."
    )
