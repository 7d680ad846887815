"""The base of everything that a stored job is made of."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A part of a stored job: immutable, and read from JSON as it was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")
