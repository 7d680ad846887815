"""POST /generate/sd3: draw a request and answer with its pictures."""

from typing import Any

from sd3.api import Request, Response, handle
from sd3.bootstrap import Caller, service
from sd3.contract import GenerateRequest


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The function's entry: an API Gateway proxy event in, its answer out."""
    return handle({"POST /generate/sd3": generate}, event, context)


def generate(request: Request) -> Response:
    """Answer 200 with the job that drew the request, or 202 with the one that will."""
    caller = Caller(
        client_id=request.client_id,
        job_id=request.id,
        seconds=request.seconds,
        idempotency_key=request.idempotency_key(),
        respond_async=request.prefers("respond-async") is not None,
    )
    answer = service().generate(_parsed(request), caller)
    if answer.status.is_terminal:
        return Response(200, answer)
    return Response(202, answer, {"Location": f"/jobs/{answer.id}", "Retry-After": "2"})


def _parsed(request: Request) -> GenerateRequest:
    """Read the request. OctoAI's own client reads image_b64 and cannot ask for it: it gets it."""
    parsed = GenerateRequest.parse(request.json_body())
    if (
        request.header("X-Fern-SDK-Name") != "octoai"
        or "response_format" in parsed.model_fields_set
    ):
        return parsed
    return parsed.model_copy(update={"response_format": "b64_json"})
