"""The HTTP API, operation by operation: what each takes, what it answers, how it can fail."""

from typing import Final

from local.openapi.operations import Answer, Header, Operation, Parameter
from sd3.api.request import MAX_KEY, MAX_WAIT_SECONDS
from sd3.domain.job import JOB_ID, JobsQuery
from sd3.domain.request import MAX_IMAGES, GenerateRequest, UploadRequest
from sd3.errors import (
    BudgetExceededError,
    ContentPolicyError,
    ForbiddenError,
    GoneError,
    IdempotencyMismatchError,
    InvalidJsonError,
    InvalidRequestError,
    NotCancelableError,
    NotFoundError,
    RateLimitedError,
    Sd3Error,
    StillRunningError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
    UpstreamError,
    UpstreamUnavailableError,
)
from sd3.responses.models import (
    HealthResponse,
    JobListResponse,
    JobResponse,
    QuoteResponse,
    UploadResponse,
    UsageResponse,
)

TEXT: Final = {"type": "string"}

RETRY_AFTER: Final = Header(
    "Retry-After", "Seconds until it is worth asking again.", {"type": "integer", "minimum": 0}
)
_LOCATION: Final = Header("Location", "Where the job is, relative to this address.", TEXT)
_LINK: Final = Header("Location", "A link to the image, signed now.", TEXT)
_ENTITY_TAG: Final = Header("ETag", "What If-None-Match takes.", TEXT)
_CACHE: Final = Header("Cache-Control", "Whether the answer may be kept.", TEXT)
_APPLIED: Final = Header("Preference-Applied", "What was followed of Prefer.", TEXT, always=False)

_JOB: Final = Parameter(
    "id", "path", "The job's id.", {"type": "string", "pattern": f"^{JOB_ID.pattern}$"}
)
_INDEX: Final = Parameter(
    "index",
    "path",
    "The image's index in the job.",
    {"type": "integer", "minimum": 0, "maximum": MAX_IMAGES - 1},
)
_KNOWN: Final = Parameter(
    "If-None-Match", "header", "Entity tags that are known: one of them is a 304.", TEXT
)
_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The same key and request are the same job, for 24 hours.",
    {"type": "string", "pattern": f"^[!-~]([ -~]{{0,{MAX_KEY - 2}}}[!-~])?$"},
)
_ASYNC: Final = Parameter(
    "Prefer",
    "header",
    "`respond-async`: answer 202 at once.",
    {"anyOf": [{"const": "respond-async"}, TEXT]},
)
_WAIT: Final = Parameter(
    "Prefer",
    "header",
    f"`wait=N`, up to {MAX_WAIT_SECONDS}: hold the answer until the job ends or N seconds pass.",
    {"anyOf": [TEXT | {"pattern": f"^wait=(1?[0-9]|{MAX_WAIT_SECONDS})$"}, TEXT]},
)

_ALWAYS: Final = (RateLimitedError, Sd3Error)
_WITH_TOKEN: Final = (UnauthorizedError, ForbiddenError, *_ALWAYS)
_WITH_BODY: Final = (
    InvalidJsonError, TooLargeError, UnsupportedMediaTypeError, InvalidRequestError,
)  # fmt: skip
_OF_A_JOB: Final = (NotFoundError, GoneError, *_WITH_TOKEN)


OPERATIONS: Final = (
    Operation(
        method="post",
        path="/generate/sd3",
        id="generate",
        tag="images",
        summary="Generate images",
        description="Short work is answered with its images, long work is queued.",
        parameters=(_ASYNC, _KEY),
        body=GenerateRequest,
        answers=(
            Answer(
                200,
                "The job, which has ended; with `dry_run` what it would take.",
                (JobResponse, QuoteResponse),
            ),
            Answer(
                202,
                "The job, which waits or runs.",
                (JobResponse,),
                (_LOCATION, RETRY_AFTER, _APPLIED),
            ),
        ),
        errors=(
            *_WITH_BODY,
            ContentPolicyError,
            BudgetExceededError,
            GoneError,
            IdempotencyMismatchError,
            *_WITH_TOKEN,
            UpstreamError,
            UpstreamUnavailableError,
            StillRunningError,
        ),
    ),
    Operation(
        method="post",
        path="/uploads",
        id="upload",
        tag="images",
        summary="Get a form to upload an init image by",
        body=UploadRequest,
        answers=(
            Answer(201, "The form, and the id of what it sends.", (UploadResponse,), (_CACHE,)),
        ),
        errors=(*_WITH_BODY, *_WITH_TOKEN),
    ),
    Operation(
        method="get",
        path="/jobs",
        id="listJobs",
        tag="jobs",
        summary="List jobs, newest first",
        query=JobsQuery,
        answers=(Answer(200, "A page of the client's jobs.", (JobListResponse,), (_CACHE,)),),
        errors=(InvalidRequestError, *_WITH_TOKEN),
    ),
    Operation(
        method="get",
        path="/jobs/{id}",
        id="getJob",
        tag="jobs",
        summary="Read a job, with links signed now",
        parameters=(_JOB, _WAIT, _KNOWN),
        answers=(
            Answer(
                200,
                "The job.",
                (JobResponse,),
                (_ENTITY_TAG, _CACHE, RETRY_AFTER._replace(always=False), _APPLIED),
            ),
            Answer(304, "The job is as If-None-Match knows it.", (), (_ENTITY_TAG, _CACHE)),
        ),
        errors=(InvalidRequestError, *_OF_A_JOB),
    ),
    Operation(
        method="delete",
        path="/jobs/{id}",
        id="deleteJob",
        tag="jobs",
        summary="Remove a job with its images",
        parameters=(_JOB,),
        answers=(Answer(204, "The job is gone; it was canceled before if it was open."),),
        errors=_OF_A_JOB,
    ),
    Operation(
        method="post",
        path="/jobs/{id}/cancel",
        id="cancelJob",
        tag="jobs",
        summary="Cancel a job",
        parameters=(_JOB,),
        answers=(Answer(200, "The job, which is canceled.", (JobResponse,)),),
        errors=(NotCancelableError, *_OF_A_JOB),
    ),
    Operation(
        method="get",
        path="/jobs/{id}/images/{index}",
        id="getImage",
        tag="jobs",
        summary="Go to an image: an address that stays",
        parameters=(_JOB, _INDEX),
        answers=(Answer(302, "It is there.", (), (_LINK, _CACHE)),),
        errors=_OF_A_JOB,
    ),
    Operation(
        method="get",
        path="/usage",
        id="getUsage",
        tag="usage",
        summary="What the client has used, and may still use",
        answers=(Answer(200, "Today and the last 30 days.", (UsageResponse,), (_CACHE,)),),
        errors=_WITH_TOKEN,
    ),
    Operation(
        method="get",
        path="/health",
        id="health",
        tag="service",
        summary="Whether the service answers",
        answers=(Answer(200, "It does.", (HealthResponse,)),),
        errors=_ALWAYS,
        is_open=True,
    ),
    *(
        Operation(
            method="get",
            path=path,
            id=name,
            tag="service",
            summary=summary,
            parameters=(_KNOWN,),
            answers=(
                Answer(200, "The document.", (), (_ENTITY_TAG, _CACHE), media_type),
                Answer(304, "It is as If-None-Match knows it.", (), (_ENTITY_TAG, _CACHE)),
            ),
            errors=_ALWAYS,
            is_open=True,
        )
        for path, name, summary, media_type in (
            ("/openapi.json", "openapi", "This document", "application/json"),
            ("/docs", "docs", "This document, to be read by people", "text/html"),
        )
    ),
)
