"""The use cases: what the service does, whoever asks and wherever it runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import randbelow
from typing import Final, Protocol

from sd3.contract import MAX_SEED, GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    Fault,
    InvalidRequestError,
    NotFoundError,
    Sd3Error,
)
from sd3.images import Picture, encode_base64
from sd3.models import (
    Charge,
    ChargeOutcome,
    Drawing,
    DrawnPicture,
    ImageAnswer,
    ImageRecord,
    Job,
    JobAnswer,
    JobError,
    JobStatus,
    Link,
)
from sd3.upstreams import Upstream

ANSWER_BYTES: Final = 4_500_000
"""Base64 that an answer may hold: Lambda's answers end at 6 MB, links and the rest included."""

STORE_SECONDS: Final = 15
"""Kept back from the caller's time for storing the pictures and writing the job's end."""

LEASE_MARGIN_SECONDS: Final = 30
"""How long after its last moment an attempt still counts as alive."""


class Jobs(Protocol):
    """Where jobs are kept; see jobs.JobStore."""

    def create(self, job: Job) -> None: ...
    def end(self, job: Job) -> None: ...
    def get(self, job_id: str, *, now: datetime) -> Job: ...


class Images(Protocol):
    """Where pictures are kept; see storage.ImageStore."""

    def put_init_image(self, folder: str, picture: Picture) -> str: ...
    def put_all(self, folder: str, drawn: Sequence[DrawnPicture]) -> tuple[ImageRecord, ...]: ...
    def sign(self, key: str, *, now: datetime) -> Link: ...


@dataclass(frozen=True, kw_only=True)
class Service:
    """The use cases over one set of stores and one upstream, made when it is first asked."""

    jobs: Jobs
    images: Images
    upstream: Callable[[], Upstream]
    sync_image_steps: int
    retention: timedelta
    now: Callable[[], datetime]
    monotonic: Callable[[], float]

    def generate(
        self, request: GenerateRequest, *, client_id: str, job_id: str, seconds: float
    ) -> JobAnswer:
        """Draw a request while its caller waits, at most `seconds` from now.

        Raises InvalidRequestError for work that is too long for that, UpstreamError and
        StorageError; the job that failed so is named by the error's `job_id`.
        """
        self._refuse_long_work(request)
        deadline = self.monotonic() + seconds - STORE_SECONDS
        job = self._start(request, client_id=client_id, job_id=job_id, seconds=seconds)
        try:
            drawing = self._draw(job, request.init_image, deadline)
            return self._finish(job, drawing)
        except Sd3Error as error:
            error.job_id = job.id
            raise

    def job(self, job_id: str, *, client_id: str) -> JobAnswer:
        """A job of this client, with links signed now; NotFoundError for any other."""
        job = self.jobs.get(job_id, now=self.now())
        if job.client_id != client_id:
            raise NotFoundError("There is no such job.")
        return self._answer(job)

    def _refuse_long_work(self, request: GenerateRequest) -> None:
        work = request.num_images * request.steps
        if work > self.sync_image_steps:
            msg = f"num_images x steps is {work}; at most {self.sync_image_steps} can be drawn"
            raise InvalidRequestError([Fault(("body", "num_images"), msg, "too_long")])

    def _start(
        self, request: GenerateRequest, *, client_id: str, job_id: str, seconds: float
    ) -> Job:
        now = self.now()
        init = request.init_image
        job = Job(
            id=job_id,
            client_id=client_id,
            status=JobStatus.RUNNING,
            created_at=now,
            expires_at=now + self.retention,
            request=request,
            seeds=fix_seeds(request),
            init_image_key=init and self.images.put_init_image(f"{client_id}/{job_id}", init),
            attempt=1,
            lease_until=now + timedelta(seconds=seconds + LEASE_MARGIN_SECONDS),
        )
        self.jobs.create(job)
        return job

    def _draw(self, job: Job, init_image: Picture | None, deadline: float) -> Drawing:
        try:
            return self.upstream().draw(
                job.request, seeds=job.seeds, init_image=init_image, deadline=deadline
            )
        except Sd3Error as error:
            outcome = ChargeOutcome.UNKNOWN if error.may_have_charged else ChargeOutcome.FREE
            self._fail(job, error, charge=self._charge(job, outcome))
            raise

    def _finish(self, job: Job, drawing: Drawing) -> JobAnswer:
        charge = self._charge(job, ChargeOutcome.CHARGED)
        try:
            records = self.images.put_all(f"{job.client_id}/{job.id}", drawing.pictures)
        except Sd3Error as error:
            self._fail(job, error, charge=charge)
            raise
        ended = job.model_copy(
            update={
                "status": JobStatus.SUCCEEDED,
                "completed_at": self.now(),
                "images": records,
                "charges": (*job.charges, charge),
                "prediction_time_ms": drawing.prediction_time_ms,
            }
        )
        if not any(record.key for record in records):
            removed = ContentPolicyError("Every picture was removed for safety.")
            ended = _failed(ended, removed)
        self.jobs.end(ended)
        return self._answer(ended, drawing.pictures)

    def _fail(self, job: Job, error: Sd3Error, *, charge: Charge) -> None:
        ended = job.model_copy(
            update={"completed_at": self.now(), "charges": (*job.charges, charge)}
        )
        self.jobs.end(_failed(ended, error))

    def _charge(self, job: Job, outcome: ChargeOutcome) -> Charge:
        free = outcome is ChargeOutcome.FREE
        return Charge(
            attempt=job.attempt,
            upstream=self.upstream().name,
            outcome=outcome,
            micros=0 if free else self.upstream().quote(job.request),
        )

    def _answer(self, job: Job, drawn: Sequence[DrawnPicture] = ()) -> JobAnswer:
        now = self.now()
        inline = inline_base64(drawn) if job.request.response_format == "b64_json" else {}
        links = {r.index: self.images.sign(r.key, now=now) for r in job.images if r.key}
        return JobAnswer(
            **job.model_dump(
                include={"id", "status", "created_at", "completed_at", "prediction_time_ms"}
            ),
            images=[
                ImageAnswer(
                    **record.model_dump(exclude={"key"}),
                    image_b64=inline.get(record.index),
                    url=links[record.index].url if record.key else None,
                    expires_at=links[record.index].expires_at if record.key else None,
                )
                for record in job.images
            ],
            cost_usd=job.cost_micros / 1_000_000,
            metadata=job.request.metadata,
            error=job.error,
        )


def fix_seeds(request: GenerateRequest) -> tuple[int, ...]:
    """One seed for each picture: counted on from one, wrapping inside 1..2^32-1; null is drawn."""
    seed = request.seed
    if isinstance(seed, int):
        return tuple((seed - 1 + index) % MAX_SEED + 1 for index in range(request.num_images))
    each = seed or [None] * request.num_images
    return tuple(one if one is not None else randbelow(MAX_SEED) + 1 for one in each)


def inline_base64(drawn: Sequence[DrawnPicture]) -> dict[int, str]:
    """Base64 by index of the first pictures that fit an answer together."""
    inline: dict[int, str] = {}
    room = ANSWER_BYTES
    for index, one in enumerate(drawn):
        if one.picture is None:
            continue
        room -= (len(one.picture.data) + 2) // 3 * 4
        if room < 0:
            break
        inline[index] = encode_base64(one.picture.data)
    return inline


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _failed(job: Job, error: Sd3Error) -> Job:
    return job.model_copy(
        update={
            "status": JobStatus.FAILED,
            "error": JobError(code=error.code, message=error.message),
        }
    )
