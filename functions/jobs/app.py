"""GET /jobs/{id}: read a job back, with links signed now. GET /health: the service is up."""

from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from sd3.bootstrap import json_response, rest_api, service
from sd3.models import HealthAnswer


def job(job_id: str) -> Response[str]:
    """Answer 200 with the job; another client's is a 404."""
    client_id = api().current_event.request_context.authorizer["client_id"]
    return json_response(200, service().job(job_id, client_id=client_id))


def health() -> Response[str]:
    """Answer 200, having touched nothing."""
    return json_response(200, HealthAnswer())


@cache
def api() -> APIGatewayRestResolver:
    """The routes of this function."""
    api = rest_api()
    api.get("/jobs/<job_id>")(job)
    api.get("/health")(health)
    return api


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The function's entry: an API Gateway proxy event in, its answer out."""
    return api().resolve(event, context)
