"""What clients read: the JSON of every response, of events and of inbox results."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from sd3.domain.job import JobStatus
from sd3.domain.progress import MAX_POSITION

TIME_PATTERN: Final = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"


def _written(time: datetime) -> str:
    """Write a time in UTC with six digits of its second, those of a whole second too.

    pydantic leaves a fraction of zero out. Parsers that are strict, such as Swift's, take times
    with a fraction or without one, not both.
    """
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": TIME_PATTERN}),
]


_LINK_ENDS: Final = (
    "When the link ends at the latest, and never after the job. It ends earlier with the"
    " credentials that signed it, whose end Lambda does not tell. GET /jobs/{id}/images/{index}"
    " always leads to a link that is signed at that moment."
)


class UploadResponse(BaseModel):
    """A form for one image, and the id by which requests name the image."""

    id: str = Field(description="What init_image_id takes once the image is sent.")
    url: str = Field(description="Where to POST the form.")
    fields: dict[str, str] = Field(description="Fields of the form; `file` comes after them.")
    expires_at: Time = Field(
        description="When the form expires at the latest. It expires earlier with the credentials"
        " that signed it, whose end Lambda does not tell."
    )
    max_bytes: int = Field(description="The most bytes that the image may have.")


class JobErrorBody(BaseModel):
    """Why a job or one of its images failed, in the terms of the error table."""

    code: str
    message: str


class ImageResponse(BaseModel):
    """An image as the client sees it: OctoAI's four fields, and where to fetch it."""

    index: int
    image_b64: str | None = None
    url: str | None = None
    expires_at: Time | None = Field(default=None, description=_LINK_ENDS)
    seed: int
    removed_for_safety: bool
    safety_score: float | None
    width: int | None
    height: int | None
    content_type: str | None
    bytes: int | None
    sha256: str | None
    provenance: str | None = Field(
        description="How the file says that it is AI-made: basic or full, unsigned without the"
        " service's signature, upstream by the upstream's own mark, or null if it does not."
    )
    c2pa: bool | None = Field(
        description="Whether the file has a C2PA manifest that this service has signed; null if"
        " the deployment signs none."
    )
    thumbhash: str | None = Field(
        description="A blurred image in up to 25 bytes, as base64, if the request asked for it."
    )
    upstream: str | None
    error: JobErrorBody | None


class ImageLinkResponse(BaseModel):
    """GET /jobs/{id}/images/{index} for clients that prefer JSON to a redirect."""

    url: str = Field(description="Where the image is; fetch it without the token.")
    expires_at: Time = Field(description=_LINK_ENDS)
    width: int
    height: int
    content_type: str
    bytes: int


class ImagesDoneBody(BaseModel):
    """How many of a job's images are generated."""

    done: int
    of: int


class JobResponse(BaseModel):
    """A job as the client sees it: OctoAI's `images` and `prediction_time_ms`, and the rest."""

    id: str
    status: JobStatus
    created_at: Time
    completed_at: Time | None
    expires_at: Time = Field(description="From then on the job and its images are gone (410).")
    images: list[ImageResponse]
    prediction_time_ms: float
    cost_usd: float
    upstream: str | None = Field(description="Who generated the images.")
    ignored: list[str] = Field(description="Fields that this upstream did not follow.")
    metadata: dict[str, str]
    reproduced_from: str | None = Field(
        default=None, description="The job that this one has generated again."
    )
    error: JobErrorBody | None
    reused_from: str | None = Field(
        default=None, description="The earlier job of which the images are copies, for $0."
    )
    queue_position: int | None = Field(
        default=None,
        description=f"How many jobs wait before it, of all clients; {MAX_POSITION} is that many or"
        " more. Null unless it waits, and in lists.",
    )
    eta_seconds: float | None = Field(
        default=None,
        description="When it probably ends, in seconds from now. Null if nothing is known.",
    )
    progress: ImagesDoneBody | None = Field(
        default=None,
        description="How many images the running attempt has generated, some seconds ago. Null for"
        " a single image, for what is answered at once, and in lists.",
    )
    cancel_at: Time | None = Field(
        default=None,
        description="When it is canceled if it has not begun, as Cancel-After has asked for.",
    )
    reused_at: datetime | None = Field(default=None, exclude=True)
    """When that job ended, for the header Age."""


class VerifyResponse(BaseModel):
    """POST /verify: what an image says of its origin."""

    marked: bool = Field(
        description="Whether the file says that AI or an algorithm has made it: by IPTC's"
        " DigitalSourceType, by a C2PA manifest, or by this service's mark. Anybody can write the"
        " first two, and remove all three."
    )
    digital_source_type: str | None = Field(
        description="The term of IPTC's DigitalSourceType that it names."
    )
    c2pa: bool = Field(description="Whether it has a C2PA manifest. It is not validated.")
    ours: bool = Field(
        description="Whether the mark in it was signed by this service. Only with `exact` bytes is"
        " that about this image: a mark can be copied into another file."
    )
    bytes: Literal["exact", "altered"] | None = Field(
        description="`exact`: but for mark and manifest, the file is byte for byte as it was"
        " generated. `altered`: it was encoded anew or changed, or the mark was copied into it."
        " Null if it is not ours."
    )
    job_id: str | None = Field(description="The job that the mark names, to its own client only.")
    index: int | None = Field(description="The index of the image in its job.")
    seed: int | None = Field(description="The seed of the image.")


class JobListResponse(BaseModel):
    """GET /jobs: a page of a client's jobs."""

    jobs: list[JobResponse]
    next_cursor: str | None


class HealthResponse(BaseModel):
    """GET /health."""

    status: Literal["ok"] = "ok"


class FieldErrorBody(BaseModel):
    """One wrong field of a 422, in FastAPI's shape."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorBody(BaseModel):
    """Every response that is neither a 2xx nor a 3xx."""

    code: str
    message: str
    request_id: str
    job_id: str | None = None
    detail: list[FieldErrorBody] | None = None


class DayUsage(BaseModel):
    """The usage of the jobs that were made on one day (UTC)."""

    date: str
    pictures: int = Field(description="Stored images.")
    cost_usd: float = Field(description="What was charged, or may have been.")
    reserved_usd: float = Field(description="What open jobs may still cost.")


class TodayUsage(DayUsage):
    """Today. `budget_usd` and `left_usd` are null for a client without a budget."""

    budget_usd: float | None
    left_usd: float | None
    resets_at: Time


class PastUsage(BaseModel):
    """The sum of the last days, and those of them that have usage, newest first."""

    pictures: int
    cost_usd: float
    days: list[DayUsage]


class UsageResponse(BaseModel):
    """GET /usage."""

    client_id: str
    today: TodayUsage
    last_30_days: PastUsage


class QuoteResponse(BaseModel):
    """POST /generate/sd3 with `dry_run`: the most that the request would cost."""

    dry_run: Literal[True] = True
    cost_usd: float
    upstream: str = Field(description="The dearest upstream that may generate it.")
    ignored: list[str] = Field(description="Fields that this upstream would not follow.")
    budget_left_usd: float | None = Field(
        description="What is left of today's budget before this request."
    )


class JobEventImage(BaseModel):
    """An image and where it is stored. `url` is its `s3://` address, which does not expire."""

    index: int
    seed: int
    removed_for_safety: bool
    safety_score: float | None
    bucket: str | None
    key: str | None
    url: str | None
    content_type: str | None
    width: int | None
    height: int | None
    bytes: int | None
    sha256: str | None
    provenance: str | None
    c2pa: bool | None
    upstream: str | None
    error: JobErrorBody | None


class JobEvent(BaseModel):
    """A job for EventBridge and for inbox results: without its prompt and without links."""

    id: str
    client_id: str
    status: JobStatus
    created_at: Time
    completed_at: Time | None = None
    images: list[JobEventImage] = []
    prediction_time_ms: float = 0
    cost_usd: float = 0
    upstream: str | None = None
    ignored: list[str] = []
    metadata: dict[str, str]
    error: JobErrorBody | None = None
    reused_from: str | None = None
