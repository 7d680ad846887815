"""Lists of a client's jobs: what is asked for, and a page of it."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sd3.domain.job import Job, JobStatus


class JobPage(NamedTuple):
    """A part of a client's jobs, newest first, and where the next part begins."""

    jobs: tuple[Job, ...]
    next_position: tuple[str, str] | None
    """created_at and id of the last job that was looked at; None at the end."""


class JobsQuery(BaseModel):
    """GET /jobs: which of a client's jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: JobStatus | None = Field(default=None, description="Jobs in this state only.")
    limit: int = Field(default=20, ge=1, le=100, description="Jobs of a page, at most.")
    cursor: str | None = Field(default=None, description="next_cursor of the page before.")
