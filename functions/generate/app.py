"""POST /generate/sd3: generate a request and answer with its images."""

from typing import Any

from sd3.api.app import JOB_RETRY_AFTER, Response, handle
from sd3.api.request import Request
from sd3.bootstrap import job_service
from sd3.domain.client import RequestContext
from sd3.domain.job import JOB_ID
from sd3.domain.request import GenerateRequest
from sd3.errors import FieldError, InvalidRequestError


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The function's entry: an API Gateway proxy event in, its answer out."""
    return handle({"POST /generate/sd3": generate}, event, context)


def generate(request: Request) -> Response:
    """Answer 200 with the job that drew the request, or 202 with the one that will.

    A dry run is answered with what the request would take.
    """
    respond_async = request.prefers("respond-async") is not None
    context = RequestContext(
        client_id=request.client_id,
        job_id=_job_id(request),
        seconds=request.seconds,
        idempotency_key=request.idempotency_key(),
        respond_async=respond_async,
        limits=request.limits,
    )
    wanted = _parsed(request)
    if wanted.dry_run:
        quote = job_service().quote(wanted, client_id=context.client_id, limits=context.limits)
        return Response(200, quote)
    answer = job_service().generate(wanted, context)
    if answer.status.is_terminal:
        return Response(200, answer)
    # Relative to this route: the API's own address has a stage or a path in front of it.
    headers = {"Location": f"../jobs/{answer.id}", "Retry-After": JOB_RETRY_AFTER}
    if respond_async:
        headers["Preference-Applied"] = "respond-async"
    return Response(202, answer, headers)


def _job_id(request: Request) -> str:
    """The gateway's id of the request, which a client may choose: it sends X-Amzn-RequestId."""
    if JOB_ID.fullmatch(request.id):
        return request.id
    msg = "should be 1 to 128 of A-Z, a-z, 0-9, dot, _ and -, beginning with a letter or digit"
    raise InvalidRequestError([FieldError(("header", "X-Amzn-RequestId"), msg, "request_id")])


def _parsed(request: Request) -> GenerateRequest:
    """Read the request. OctoAI's own client reads image_b64 and cannot ask for it: it gets it."""
    parsed = GenerateRequest.parse(request.json_body(), max_images=request.limits.max_images)
    if (
        request.header("X-Fern-SDK-Name") != "octoai"
        or "response_format" in parsed.model_fields_set
    ):
        return parsed
    return parsed.model_copy(update={"response_format": "b64_json"})
