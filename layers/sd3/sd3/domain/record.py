"""The base of everything that a stored job is made of."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A part of a stored job: immutable, and read from JSON as it was written.

    Fields that this version does not know stay in it: a later one may have written them, and may
    read them again after this one has written the job.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
