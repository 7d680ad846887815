"""The HTTP API, operation by operation: what each accepts, what it returns, how it can fail."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sd3.api.request import CANCEL_AFTER, MAX_CANCEL_AFTER, MAX_KEY
from sd3.api.verification import VerifyRequest
from sd3.domain.client import MAX_WAIT_SECONDS
from sd3.domain.job import JOB_ID
from sd3.domain.job_list import JobsQuery
from sd3.domain.rendition import ImageQuery
from sd3.domain.request import GenerateRequest, UploadRequest
from sd3.domain.request_checks import MAX_IMAGES
from sd3.errors import (
    BudgetExceededError,
    ContentPolicyError,
    GoneError,
    IdempotencyMismatchError,
    MethodNotAllowedError,
    NotCachedError,
    NotCancelableError,
    NotFoundError,
    NotReproducibleError,
    StillRunningError,
    UpstreamError,
    UpstreamUnavailableError,
)
from sd3.responses.models import (
    HealthResponse,
    ImageLinkResponse,
    JobListResponse,
    JobResponse,
    QuoteResponse,
    UploadResponse,
    UsageResponse,
    VerifyResponse,
)
from tools.openapi import batches, examples, openai_images, webhooks
from tools.openapi.operations import (
    ALWAYS,
    CACHE,
    STORED,
    TEXT,
    WITH_BODY,
    WITH_TOKEN,
    Header,
    Operation,
    Parameter,
    Response,
)

RETRY_AFTER: Final = Header(
    "Retry-After", "Seconds until it is worth asking again.", {"type": "integer", "minimum": 0}
)
_LOCATION: Final = Header("Location", "Where the job is, relative to the URL called.", TEXT)
_LINK: Final = Header("Location", "A link to the image, signed now.", TEXT)
_ENTITY_TAG: Final = Header("ETag", "What If-None-Match takes.", TEXT)
_APPLIED: Final = Header("Preference-Applied", "The preference followed.", TEXT, always=False)

_JOB: Final = Parameter(
    "id", "path", "The job's id.", {"type": "string", "pattern": f"^{JOB_ID.pattern}$"}
)
_INDEX: Final = Parameter(
    "index",
    "path",
    "The index of the image in its job.",
    {"type": "integer", "minimum": 0, "maximum": MAX_IMAGES - 1},
)
_KNOWN: Final = Parameter(
    "If-None-Match",
    "header",
    "The ETag of what you have: if it is still the same, the answer is 304.",
    TEXT,
)
_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "Your own text. For 24 hours the same key and request are the same job: repeating is safe.",
    {"type": "string", "pattern": f"^[!-~]([ -~]{{0,{MAX_KEY - 2}}}[!-~])?$"},
)
_ASYNC: Final = Parameter(
    "Prefer",
    "header",
    "`respond-async`: do not wait for the images, answer 202 at once.",
    {"anyOf": [{"const": "respond-async"}, TEXT]},
)
_CANCEL_AFTER: Final = Parameter(
    "Cancel-After",
    "header",
    "When the job is canceled if it still waits and has cost nothing: `60`, `60s`, `1m30s`, `1h`; "
    f"up to {MAX_CANCEL_AFTER.total_seconds():.0f} s.",
    {"type": "string", "pattern": f"^{CANCEL_AFTER.pattern}$"},
)
_CACHE_CONTROL: Final = Parameter(
    "Cache-Control",
    "header",
    "Where the operator lets results be reused: `no-cache` generates anew, `max-age=N` takes no "
    "result that is older than N seconds, `no-store` neither uses nor leaves a result. "
    "`only-if-cached` generates nothing: without an earlier result the answer is 412.",
    TEXT,
)
_AGE: Final = Header(
    "Age",
    "Seconds since the images were generated, if they are an earlier job's.",
    {"type": "integer", "minimum": 0},
    always=False,
)
_WAIT: Final = Parameter(
    "Prefer",
    "header",
    f"`wait=N`, up to {MAX_WAIT_SECONDS}: hold the answer until the job ends or N seconds pass. A "
    "client that has begun too many waits is answered at once, without Preference-Applied.",
    {"anyOf": [TEXT | {"pattern": f"^wait=(1?[0-9]|{MAX_WAIT_SECONDS})$"}, TEXT]},
)

_VARY: Final = Header("Vary", "That the answer depends on Accept.", TEXT)

_OF_A_JOB: Final = (NotFoundError, GoneError, *STORED)

_GENERATED: Final = (
    Response(200, "The job, which has ended.", (JobResponse,), example=examples.SUCCEEDED_JOB),
    Response(
        202,
        "The job, which waits or runs.",
        (JobResponse,),
        (_LOCATION, RETRY_AFTER, _APPLIED),
        example=examples.QUEUED_JOB,
    ),
)

_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/generate/sd3",
        id="generate",
        tag="images",
        summary="Generate images",
        description="Only `prompt` is required. A short request is answered with its images (200), "
        "a long one with a job that waits in a queue (202). OctoAI's SDKs know no 202: they are "
        "held until the job has ended, and after 26 s they get a 504 that names it.",
        parameters=(_ASYNC, _KEY, _CANCEL_AFTER, _CACHE_CONTROL),
        body=GenerateRequest,
        body_examples=examples.GENERATE_REQUESTS,
        responses=(
            Response(
                200,
                "The job, which has ended; with `dry_run`, what it would cost.",
                (JobResponse, QuoteResponse),
                (_AGE,),
                example=examples.SUCCEEDED_JOB,
            ),
            _GENERATED[1],
        ),
        errors=(
            *WITH_BODY,
            ContentPolicyError,
            BudgetExceededError,
            GoneError,
            IdempotencyMismatchError,
            NotCachedError,
            *WITH_TOKEN,
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
        summary="Get a form that uploads an init image, or the lines of a batch",
        description="Send the form's `fields` and then `file` to its `url` as multipart/form-data. "
        "For a day, the `id` is the `init_image_id` of requests, or the `upload_id` of a batch. "
        "An image has up to 20 MB, a file of lines up to 50 MB.",
        body=UploadRequest,
        responses=(
            Response(201, "The form, and the id of the upload.", (UploadResponse,), (CACHE,)),
        ),
        errors=(*WITH_BODY, *STORED),
    ),
    Operation(
        method="post",
        path="/verify",
        id="verifyImage",
        tag="images",
        summary="Read whether an image says that it is AI-made, and whether by this service",
        description="As JSON, or as multipart/form-data with the file in `image`. The scope `read` "
        "is enough. Nothing is stored, and nothing is paid. That an image has no mark says "
        "nothing: a mark is easily removed.",
        body=VerifyRequest,
        body_examples=examples.VERIFY_REQUESTS,
        responses=(
            Response(
                200,
                "What the file says.",
                (VerifyResponse,),
                (CACHE,),
                example=examples.VERIFIED_IMAGE,
            ),
        ),
        errors=(*WITH_BODY, *STORED),
    ),
    Operation(
        method="get",
        path="/jobs",
        id="listJobs",
        tag="jobs",
        summary="List jobs, newest first",
        query=JobsQuery,
        responses=(
            Response(200, "A page of jobs.", (JobListResponse,), (CACHE,), example=examples.JOBS),
        ),
        errors=STORED,
    ),
    Operation(
        method="get",
        path="/jobs/{id}",
        id="getJob",
        tag="jobs",
        summary="Read a job, with new links to its images",
        parameters=(_JOB, _WAIT, _KNOWN),
        responses=(
            Response(
                200,
                "The job.",
                (JobResponse,),
                (_ENTITY_TAG, CACHE, RETRY_AFTER._replace(always=False), _APPLIED),
                example=examples.SUCCEEDED_JOB,
            ),
            Response(304, "Unchanged since the ETag in If-None-Match.", (), (_ENTITY_TAG, CACHE)),
        ),
        errors=_OF_A_JOB,
    ),
    Operation(
        method="delete",
        path="/jobs/{id}",
        id="deleteJob",
        tag="jobs",
        summary="Delete a job and its images",
        parameters=(_JOB,),
        responses=(Response(204, "The job is deleted. One that had not ended is canceled first."),),
        errors=_OF_A_JOB,
    ),
    Operation(
        method="post",
        path="/jobs/{id}/cancel",
        id="cancelJob",
        tag="jobs",
        summary="Cancel a job",
        parameters=(_JOB,),
        responses=(
            Response(200, "The canceled job.", (JobResponse,), example=examples.CANCELED_JOB),
        ),
        errors=(NotCancelableError, *_OF_A_JOB),
    ),
    Operation(
        method="post",
        path="/jobs/{id}/reproduce",
        id="reproduceJob",
        tag="jobs",
        summary="Generate a job's images again",
        description="A new job with the same request, seeds and init image, by the same upstream. "
        "It is paid as any other. Whether its images are the same is up to the upstream.",
        parameters=(_JOB, _ASYNC, _KEY, _CANCEL_AFTER),
        responses=_GENERATED,
        errors=(
            ContentPolicyError,
            BudgetExceededError,
            NotFoundError,
            GoneError,
            IdempotencyMismatchError,
            NotReproducibleError,
            *WITH_TOKEN,
            UpstreamError,
            UpstreamUnavailableError,
            StillRunningError,
        ),
    ),
    Operation(
        method="get",
        path="/jobs/{id}/images/{index}",
        id="getImage",
        tag="jobs",
        summary="Follow a permanent address to an image, in the size and format that you want",
        description="The link expires, this address does not. With `width` or `format`, it is of a "
        "rendition, which is made at its first use. Without a redirect, send "
        "`Accept: application/json`: the answer is a 200 with the link. The page at `/docs` sends "
        "it. Fetch the link without the token: S3 refuses a request with a signature and a token.",
        parameters=(_JOB, _INDEX),
        query=ImageQuery,
        responses=(
            Response(
                200,
                "The link, for a client that prefers `application/json`.",
                (ImageLinkResponse,),
                (CACHE, _VARY),
                example=examples.IMAGE_LINK,
            ),
            Response(
                302,
                "The image is there. Do not send the token on to it.",
                (),
                (_LINK, CACHE, _VARY),
            ),
        ),
        errors=_OF_A_JOB,
    ),
    Operation(
        method="head",
        path="/jobs/{id}/images/{index}",
        id="headImage",
        tag="jobs",
        summary="Refused: the link is for GET alone",
        description="The job has the type and the length of each image.",
        parameters=(_JOB, _INDEX),
        responses=(),
        errors=(MethodNotAllowedError, *WITH_TOKEN),
    ),
    Operation(
        method="get",
        path="/usage",
        id="getUsage",
        tag="usage",
        summary="Read what the client has used, and may still use",
        responses=(Response(200, "Today and the last 30 days.", (UsageResponse,), (CACHE,)),),
        errors=STORED,
    ),
    Operation(
        method="get",
        path="/health",
        id="health",
        tag="service",
        summary="Check that the service answers",
        responses=(Response(200, "It answers.", (HealthResponse,)),),
        errors=ALWAYS,
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
            responses=(
                Response(200, "The document.", (), (_ENTITY_TAG, CACHE), media_type),
                Response(
                    304, "Unchanged since the ETag in If-None-Match.", (), (_ENTITY_TAG, CACHE)
                ),
            ),
            errors=ALWAYS,
            is_open=True,
        )
        for path, name, summary, media_type in (
            ("/openapi.json", "openapi", "Read this document", "application/json"),
            ("/docs", "docs", "Show this document as a page", "text/html"),
        )
    ),
    Operation(
        method="get",
        path="/playground",
        id="playground",
        tag="service",
        summary="Show a page on which people generate images",
        description="The page asks for a token. The deployment can turn it off: then it is a 404.",
        responses=(Response(200, "The page.", (), (CACHE,), "text/html"),),
        errors=(NotFoundError, *ALWAYS),
        is_open=True,
    ),
)


def _with_head() -> Iterator[Operation]:
    """Yield every operation, and HEAD for each open one: the headers of GET without a body."""
    for operation in (
        *_OPERATIONS,
        *batches.OPERATIONS,
        *webhooks.OPERATIONS,
        *openai_images.OPERATIONS,
    ):
        yield operation
        if operation.is_open:
            name = operation.id[0].upper() + operation.id[1:]
            responses = tuple(
                each._replace(models=(), media_type="") for each in operation.responses
            )
            summary = "The same headers as GET, without a body"
            yield replace(
                operation, method="head", id=f"head{name}", summary=summary, responses=responses
            )


OPERATIONS: Final = tuple(_with_head())
