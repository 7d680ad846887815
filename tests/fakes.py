"""Stand-ins that behave: an upstream, the two stores and a clock, all in memory."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sd3.contract import GenerateRequest
from sd3.errors import LeaseLostError, NotFoundError, Sd3Error
from sd3.images import Picture
from sd3.models import Drawing, DrawnPicture, ImageRecord, Job, JobStatus, Link
from sd3.service import Service

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def picture(index: int = 0, *, size: int = 3000) -> Picture:
    """A picture that nobody decodes."""
    return Picture(bytes([index]) * size, "image/jpeg", 1024, 1024)


class FakeUpstream:
    """Draws at once; `errors` are raised first, in order; `removed` are the filtered indexes."""

    name = "fake"

    def __init__(self, *, errors: Sequence[Sd3Error] = (), removed: Sequence[int] = ()) -> None:
        self.errors = list(errors)
        self.removed = set(removed)
        self.calls: list[GenerateRequest] = []
        self.init_images: list[Picture | None] = []
        self.deadlines: list[float] = []

    def quote(self, request: GenerateRequest) -> int:
        return 1000 * request.steps * request.num_images

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Picture | None,
        deadline: float,
    ) -> Drawing:
        self.calls.append(request)
        self.init_images.append(init_image)
        self.deadlines.append(deadline)
        if self.errors:
            raise self.errors.pop(0)
        drawn = (
            DrawnPicture(seed, None, 0.99)
            if index in self.removed
            else DrawnPicture(seed, picture(index))
            for index, seed in enumerate(seeds)
        )
        return Drawing(tuple(drawn), 1234.5)


class FakeJobs:
    """The jobs table as a dict, and the list of all that was written."""

    def __init__(self) -> None:
        self.items: dict[str, Job] = {}
        self.writes: list[Job] = []

    def create(self, job: Job) -> None:
        self._write(job)

    def end(self, job: Job) -> None:
        if self.items[job.id].status is not JobStatus.RUNNING:
            raise LeaseLostError("ended")
        self._write(job)

    def get(self, job_id: str, *, now: datetime) -> Job:
        if job_id not in self.items or self.items[job_id].expires_at <= now:
            raise NotFoundError("There is no such job.")
        return self.items[job_id]

    def _write(self, job: Job) -> None:
        self.items[job.id] = job
        self.writes.append(job)


class FakeImages:
    """The bucket as a dict; `error` is what a put raises."""

    def __init__(self, *, error: Sd3Error | None = None) -> None:
        self.objects: dict[str, Picture] = {}
        self.error = error

    def put_init_image(self, folder: str, picture: Picture) -> str:
        return self._put(f"{folder}/init.jpg", picture)

    def put_all(self, folder: str, drawn: Sequence[DrawnPicture]) -> tuple[ImageRecord, ...]:
        return tuple(
            ImageRecord(
                index=index,
                seed=one.seed,
                removed_for_safety=one.picture is None,
                safety_score=one.safety_score,
                key=one.picture and self._put(f"{folder}/{index}.jpg", one.picture),
            )
            for index, one in enumerate(drawn)
        )

    def sign(self, key: str, *, now: datetime) -> Link:
        return Link(f"https://images.test/{key}", now + timedelta(hours=1))

    def _put(self, key: str, picture: Picture) -> str:
        if self.error:
            raise self.error
        self.objects[key] = picture
        return key


def make_service(
    *,
    upstream: FakeUpstream | None = None,
    jobs: FakeJobs | None = None,
    images: FakeImages | None = None,
    now: Callable[[], datetime] = lambda: NOON,
) -> Service:
    """A service over fakes, at noon, whose monotonic clock stands at 1000 s."""
    drawer = upstream or FakeUpstream()
    return Service(
        jobs=jobs or FakeJobs(),
        images=images or FakeImages(),
        upstream=lambda: drawer,
        sync_image_steps=120,
        retention=timedelta(days=30),
        now=now,
        monotonic=lambda: 1000.0,
    )
