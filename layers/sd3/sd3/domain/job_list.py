"""Lists of a client's jobs: what is asked for, and a page of it."""

import re
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from sd3.domain.job import Job, JobStatus

_DIGITS: Final = re.compile("[0-9]{1,9}")


class JobPage(NamedTuple):
    """A part of a client's jobs, newest first, and where the next part begins."""

    jobs: tuple[Job, ...]
    next_position: tuple[str, str] | None
    """created_at and id of the last job that was looked at; None at the end."""

    def first(self, count: int) -> "JobPage":
        """Return the first jobs as a page, after which the page of the others begins."""
        if count == len(self.jobs):
            return self
        last = self.jobs[count - 1]
        return JobPage(self.jobs[:count], (last.created_at.isoformat(), last.id))


def digits(value: object) -> object:
    """Refuse what Python takes for a number and no other client means: `5_0`, `+5`, ` 5 `."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be digits only, from 0 to 9")
    return value


class JobsQuery(BaseModel):
    """GET /jobs: which of a client's jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: JobStatus | None = Field(default=None, description="Jobs in this state only.")
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = Field(
        default=20, description="Jobs of a page, at most."
    )
    cursor: str | None = Field(default=None, description="next_cursor of the page before.")
