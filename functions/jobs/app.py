"""GET /jobs/{id}: read a job back, with links signed now. GET /health: the service is up."""

from typing import Any

from sd3.api import Request, Response, handle
from sd3.bootstrap import service
from sd3.models import HealthAnswer


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The function's entry: an API Gateway proxy event in, its answer out."""
    return handle({"GET /jobs/{id}": job, "GET /health": health}, event, context)


def job(request: Request) -> Response:
    """Answer 200 with the job; another client's is a 404."""
    found = service().job(request.path["id"], client_id=request.client_id)
    return Response(200, service().answer(found))


def health(_request: Request) -> Response:
    """Answer 200, having touched nothing."""
    return Response(200, HealthAnswer())
