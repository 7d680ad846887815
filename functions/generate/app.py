"""POST /generate/sd3: generate images and respond with them."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

from sd3.api.app import JOB_RETRY_AFTER, Response, RestApi
from sd3.api.request import Request
from sd3.bootstrap import job_service, metrics, prepare, queue_client, upstream_keys, upstreams
from sd3.domain.client import RequestContext
from sd3.domain.job import unpadded
from sd3.domain.request import GenerateRequest

OCTOAI_SDKS: Final = frozenset(("octoai", "@octoai/sdk"))
"""What the SDKs for Python and TypeScript send as X-Fern-SDK-Name."""

_OLD_OCTOAI_SDKS: Final = "octoai-"
"""What the User-Agent of `octoai-sdk` of PyPI and `@octoai/client` of npm begins with."""

HOLD: Final = timedelta(seconds=26)
"""How long the gateway's caller is held: after 29 s it is gone, and 4.5 MB take their time."""

GATEWAY_SECONDS: Final = 29.0
"""After so many seconds the gateway has answered 504 by itself, and the job goes on."""

_MAX_START: Final = timedelta(seconds=5)

app = RestApi()


@app.post("/generate/sd3")
def generate(request: Request) -> Response:
    """Respond 200 with the job and its images, or 202 with a job that has not ended.

    A client that knows no 202 is held until the job ends, or gets an error that names the job. A
    dry run gets 200 with what the request would cost.
    """
    respond_async = request.prefers("respond-async") is not None
    context = RequestContext(
        client_id=request.client_id,
        client_name=request.client_name,
        job_id=unpadded(request.id),
        seconds=request.seconds,
        idempotency_key=request.idempotency_key(),
        respond_async=respond_async,
        limits=request.limits,
        hold_until=_hold_until(request) if _knows_no_202(request) and not respond_async else None,
    )
    body = _parsed(request)
    if body.dry_run:
        quote = job_service().quote(body, client_id=context.client_id, limits=context.limits)
        return Response(200, quote)
    job = job_service().generate(body, context)
    if job.status.is_terminal:
        return Response(200, job)
    # Relative to this route, since the API's URL can have a stage or a base path.
    headers = {"Location": f"../jobs/{job.id}", "Retry-After": JOB_RETRY_AFTER}
    if respond_async:
        headers["Preference-Applied"] = "respond-async"
    return Response(202, job, headers)


def _knows_no_202(request: Request) -> bool:
    """Whether one of OctoAI's SDKs calls: they take every 2xx for the images."""
    agent = (request.header("User-Agent") or "").lower()
    name = (request.header("X-Fern-SDK-Name") or "").strip().lower()
    return name in OCTOAI_SDKS or agent.startswith(_OLD_OCTOAI_SDKS)


def _hold_until(request: Request) -> datetime:
    """Return until when the gateway lets a caller be held, with time left for the response."""
    now = job_service().clock.now()
    epoch = request.event.request_context.get("requestTimeEpoch") or 0
    received = datetime.fromtimestamp(epoch / 1000, UTC)
    # The gateway's clock is another one, and no authorizer and cold start take longer.
    return min(max(received, now - _MAX_START), now) + HOLD


def _parsed(request: Request) -> GenerateRequest:
    """Parse the request. OctoAI's SDKs read image_b64 but cannot request it."""
    parsed = GenerateRequest.parse(request.json_body(), max_images=request.limits.max_images)
    if not _knows_no_202(request) or "response_format" in parsed.model_fields_set:
        return parsed
    return parsed.model_copy(update={"response_format": "b64_json"})


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


prepare(job_service, queue_client, upstreams, upstream_keys)
