"""What generating images comes to: per image, per call, per request."""

from typing import NamedTuple

from sd3.domain.billing import Expense
from sd3.domain.image import Image
from sd3.domain.job import JobError
from sd3.errors import Sd3Error


class GeneratedImage(NamedTuple):
    """One image as an upstream answered it.

    `image` is None when it was removed for safety, or, with an `error`, not generated.
    """

    seed: int
    image: Image | None
    safety_score: float | None = None
    upstream: str | None = None
    error: JobError | None = None


class UpstreamResult(NamedTuple):
    """What one call to an upstream drew, in the order of its seeds."""

    images: tuple[GeneratedImage, ...]
    prediction_time_ms: float


class GenerationResult(NamedTuple):
    """What generating a request came to: an image for each seed, in order, or why there is none.

    Some images can have failed where others were generated. `expenses` are of all calls, whatever
    became of them; `ignored` are fields of the request that the upstream does not follow.
    """

    images: tuple[GeneratedImage, ...] = ()
    prediction_time_ms: float = 0.0
    expenses: tuple[Expense, ...] = ()
    ignored: tuple[str, ...] = ()
    error: Sd3Error | None = None
