"""The base of everything that a stored job is made of."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """What is kept: immutable, and read back from JSON as it was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")
