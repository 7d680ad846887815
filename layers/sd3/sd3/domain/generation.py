"""What generating images comes to: per image, per call, per request."""

from typing import NamedTuple

from sd3.domain.billing import Expense
from sd3.domain.image import Picture
from sd3.domain.job import JobError
from sd3.errors import Sd3Error


class DrawnPicture(NamedTuple):
    """One picture as an upstream answered it.

    `picture` is None when it was removed for safety, or, with an `error`, not drawn.
    """

    seed: int
    picture: Picture | None
    safety_score: float | None = None
    upstream: str | None = None
    error: JobError | None = None


class Drawing(NamedTuple):
    """What one call to an upstream drew, in the order of its seeds."""

    pictures: tuple[DrawnPicture, ...]
    prediction_time_ms: float


class Outcome(NamedTuple):
    """What drawing a request came to: a picture for each seed, in order, or why there is none.

    Some pictures can have failed where others were drawn. `expenses` are of all calls, whatever
    became of them; `ignored` are fields of the request that the upstream does not follow.
    """

    pictures: tuple[DrawnPicture, ...] = ()
    prediction_time_ms: float = 0.0
    expenses: tuple[Expense, ...] = ()
    ignored: tuple[str, ...] = ()
    error: Sd3Error | None = None
