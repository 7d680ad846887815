"""Generating images: the task, and its results per image, per call and per request."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Self

from sd3.domain.billing import Charge
from sd3.domain.image import Image
from sd3.domain.job import ImageRecord, JobError
from sd3.domain.request import GenerateRequest
from sd3.errors import Sd3Error


class TaskOrigin(NamedTuple):
    """Whose job a task is of."""

    client_id: str = ""
    job_id: str = ""
    is_retry: bool = False
    """Whether an earlier attempt at the job has called an upstream."""


NO_ORIGIN: Final = TaskOrigin()


def ignore_images(_images: int) -> None:
    """Count no images."""


class GenerationTask(NamedTuple):
    """What is to be generated, and until when."""

    request: GenerateRequest
    seeds: Mapping[int, int]
    """The seed of each image, by the image's index."""
    init_image: Image | None
    deadline: float
    """In seconds of time.monotonic(): nothing is waited for beyond it."""
    origin: TaskOrigin = NO_ORIGIN
    count_images: Callable[[int], None] = ignore_images
    """Called, from several threads, with the number of images that were just generated."""

    def only(self, indexes: Iterable[int]) -> Self:
        """Restrict the task to some of its images."""
        return self._replace(seeds={index: self.seeds[index] for index in indexes})


class GeneratedImage(NamedTuple):
    """One image of an upstream's response.

    `image` is None when the image was removed for safety or, with an `error`, not generated.
    `thumbhash` is its placeholder, if the request asks for one.
    """

    seed: int
    image: Image | None
    safety_score: float | None = None
    upstream: str | None = None
    model: str | None = None
    error: JobError | None = None
    engine: str | None = None
    """What the upstream itself says of its model or engine."""
    is_trained: bool = True
    """Whether that is a trained model, as all but sketches are."""
    provenance: str | None = None
    """Which mark its file has, once it is marked; see services.provenance."""
    c2pa: bool | None = None
    """Whether its file was signed, if the deployment signs files."""
    thumbhash: str | None = None


class SavedImages(NamedTuple):
    """The images of a job as they are stored, and a record of each."""

    records: tuple[ImageRecord, ...]
    images: tuple[GeneratedImage, ...]


class UpstreamResult(NamedTuple):
    """The images of one call to an upstream, in the order of its seeds."""

    images: tuple[GeneratedImage, ...]
    prediction_time_ms: float


class GenerationResult(NamedTuple):
    """The result of a task: an image for each seed, in order, or the `error`.

    Some images can have failed beside others. `charges` are of all calls, also of failed ones.
    `ignored` names the fields of the request that the upstream does not follow. `refused_by` names
    the upstreams that refused a call itself, also where another one generated the image. `opened`
    has for how many seconds these calls opened an upstream's circuit breaker that stops everybody.
    """

    images: tuple[GeneratedImage, ...] = ()
    prediction_time_ms: float = 0.0
    charges: tuple[Charge, ...] = ()
    ignored: tuple[str, ...] = ()
    refused_by: tuple[str, ...] = ()
    opened: Mapping[str, float] = {}
    error: Sd3Error | None = None
