"""POST /generate/sd3, reproductions and OpenAI's Images API: respond with generated images."""

from http import HTTPStatus
from time import monotonic
from typing import Any, Final

from sd3.api.app import Response, RestApi, age_of, job_retry_after
from sd3.api.held_calls import is_octoai_sdk, request_context
from sd3.api.openai_images.answer import (
    error_response,
    images_response,
    model_response,
    models_response,
)
from sd3.api.openai_images.request import AnyQuery, parse_images_request
from sd3.api.request import Request
from sd3.bootstrap import (
    job_service,
    master_secret,
    metrics,
    prepare,
    queue_client,
    reproduction,
    upstream_keys,
    upstreams,
)
from sd3.domain.client import RequestContext
from sd3.domain.job import unpadded
from sd3.domain.openai_images import ImagesRequest
from sd3.domain.request import GenerateRequest
from sd3.responses.models import JobResponse

GATEWAY_SECONDS: Final = 29.0
"""After so many seconds the gateway has answered 504 by itself, and the job goes on."""

_OPENAI_ROUTES: Final = ("/images/generations", "/images/edits", "/models", "/models/{model}")

app = RestApi(
    queries=dict.fromkeys(_OPENAI_ROUTES, AnyQuery),
    error_responses=dict.fromkeys(_OPENAI_ROUTES, error_response),
)
app.get("/models")(models_response)
app.get("/models/<model>")(model_response)


@app.post("/generate/sd3")
def generate(request: Request) -> Response:
    """Respond 200 with the job and its images, or 202 with a job that has not ended.

    A client that knows no 202 is held until the job ends, or gets an error that names the job. A
    dry run gets 200 with what the request would cost.
    """
    context = _context(request, is_held=is_octoai_sdk(request))
    body = _parsed(request)
    if body.dry_run:
        quote = job_service().quote(body, client_id=context.client_id, limits=context.limits)
        return Response(200, quote)
    job = job_service().generate(body, context)
    return _job_response(job, context, location=f"../jobs/{job.id}")


@app.post("/jobs/<id>/reproduce")
def reproduce(request: Request, id: str) -> Response:
    """Respond with a new job for the same images, as `generate` responds with one."""
    context = _context(request, is_held=False)
    job = reproduction().reproduce(id, context)
    return _job_response(job, context, location=f"../{job.id}")


def _context(request: Request, *, is_held: bool) -> RequestContext:
    now, is_async = job_service().clock.now(), request.prefers("respond-async") is not None
    is_held = is_held and not is_async
    return request_context(request, now=now, is_held=is_held, respond_async=is_async)


def _job_response(job: JobResponse, context: RequestContext, *, location: str) -> Response:
    """Respond 200 with a job that has ended, or 202 with where it will be found.

    `location` is relative to the route, since the API's URL can have a stage or a base path.
    """
    if job.status.is_terminal:
        return Response(200, job, age_of(job, now=job_service().clock.now()))
    headers = {"Location": location, "Retry-After": job_retry_after(job.eta_seconds)}
    if context.respond_async:
        headers["Preference-Applied"] = "respond-async"
    return Response(202, job, headers)


def _parsed(request: Request) -> GenerateRequest:
    """Parse the request. OctoAI's SDKs read image_b64 but cannot request it."""
    parsed = GenerateRequest.parse(request.json_body(), max_images=request.limits.max_images)
    if not is_octoai_sdk(request) or "response_format" in parsed.model_fields_set:
        return parsed
    return parsed.model_copy(update={"response_format": "b64_json"})


@app.post("/images/generations")
def generations(request: Request) -> Response:
    """Respond 200 with images in OpenAI's shape, once the job has ended."""
    return _images(request, parse_images_request(request, is_edit=False))


@app.post("/images/edits")
def edits(request: Request) -> Response:
    """Respond 200 with images that begin with the client's, in OpenAI's shape."""
    return _images(request, parse_images_request(request, is_edit=True))


def _images(request: Request, asked: ImagesRequest) -> Response:
    context = request_context(request, now=job_service().clock.now(), is_held=True)
    context = context._replace(scaled_size=asked.delivery.scaled)
    job = job_service().generate(asked.request, context)
    response = images_response(job, asked)
    response.headers.update(age_of(job, now=job_service().clock.now()))
    return response


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Respond to an API Gateway proxy event."""
    since = monotonic()
    response = app.resolve(event, context)
    is_late = monotonic() - since >= GATEWAY_SECONDS
    if is_late or response["statusCode"] == HTTPStatus.GATEWAY_TIMEOUT:
        request = Request(app.current_event, 0)  # as it was answered, whatever the event was
        job_id = unpadded(request.id)
        metrics().add("StillRunning", 1, client_id=request.client_id, job_id=job_id)
    return response


prepare(job_service, queue_client, upstreams, upstream_keys, master_secret)
