"""POST /generate/sd3: draw a request and answer with its pictures."""

from functools import cache
from typing import Any, Final

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from sd3.bootstrap import json_response, rest_api, service
from sd3.errors import TooLargeError, UnsupportedMediaTypeError
from sd3.models import GenerateRequest

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""What Lambda takes; a larger body never gets here on AWS."""


def generate() -> Response[str]:
    """Answer 200 with the job that drew the request."""
    event = api().current_event
    media_type = event.headers.get("Content-Type", "application/json").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise UnsupportedMediaTypeError("The body must be application/json.")
    body = event.decoded_body or ""
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    context = event.request_context
    answer = service().generate(
        GenerateRequest.parse(body),
        client_id=context.authorizer["client_id"],
        job_id=context.request_id,
        seconds=api().lambda_context.get_remaining_time_in_millis() / 1000,
    )
    return json_response(200, answer)


@cache
def api() -> APIGatewayRestResolver:
    """The routes of this function."""
    api = rest_api()
    api.post("/generate/sd3")(generate)
    return api


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The function's entry: an API Gateway proxy event in, its answer out."""
    return api().resolve(event, context)
