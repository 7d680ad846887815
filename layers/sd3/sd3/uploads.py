"""Uploads: large init images that clients send to S3 by a form, not through the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MAX_UPLOAD_BYTES: Final = 20_000_000


class UploadRequest(BaseModel):
    """POST /uploads: what will be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    content_type: Literal["image/png", "image/jpeg", "image/webp"] = Field(
        description="The Content-Type that the form sends the picture with."
    )


class UploadForm(NamedTuple):
    """Where a file is sent to as multipart/form-data, with which fields, and until when (UTC)."""

    url: str
    fields: Mapping[str, str]
    expires_at: datetime


class UploadAnswer(BaseModel):
    """A form for one picture, and the id by which requests name it then."""

    id: str = Field(description="What init_image_id takes once the picture is sent.")
    url: str = Field(description="Where to POST the form.")
    fields: dict[str, str] = Field(description="Fields of the form; `file` comes after them.")
    expires_at: datetime = Field(description="Until when the form is taken.")
    max_bytes: int = Field(description="What the picture may have, at most.")
