"""What clients send about webhooks, checked."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from sd3.domain.delivery import MESSAGE_ID, DeliveryStatus
from sd3.domain.job_list import digits
from sd3.domain.webhook import MAX_KEEP_OLD

_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)

Cursor = Annotated[str, Field(pattern=f"^{MESSAGE_ID.pattern}$")]


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

    since: AwareDatetime = Field(ge=_EARLIEST, description="The earliest event.")
    until: AwareDatetime | None = Field(
        default=None, ge=_EARLIEST, description="The latest event; now if null."
    )
    status: DeliveryStatus | None = Field(
        default=DeliveryStatus.FAILED, description="Deliveries of this end only; null for any."
    )
    cursor: Cursor | None = Field(default=None, description="next_cursor of the call before.")


class DeliveriesQuery(BaseModel):
    """GET /webhook/deliveries: which of a client's deliveries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: DeliveryStatus | None = Field(default=None, description="In this state only.")
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = Field(
        default=20, description="Deliveries of a page, at most."
    )
    cursor: Cursor | None = Field(default=None, description="next_cursor of the page before.")
