"""The HTTP edge: an API Gateway proxy event in, its answer out.

The gateway has chosen the route by then, so a dict of routes is all that is left to do. Powertools'
resolver would match it again, for a fifth of a cold start.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import Any, Final

from pydantic import BaseModel

from sd3.api.request import Request
from sd3.domain.client import GENERATE, READ, require
from sd3.errors import (
    NotFoundError,
    RateLimitedError,
    Sd3Error,
    StillRunningError,
    UpstreamUnavailableError,
)
from sd3.observability import logger
from sd3.responses.models import ErrorBody
from sd3.responses.render import error_body
from sd3.settings import Settings

RETRY_AFTER_SECONDS: Final = 5
"""What a client is told to wait when the upstream did not say."""

JOB_RETRY_AFTER: Final = "2"
"""Seconds until it is worth asking again for a job that waits or runs."""


@dataclass(frozen=True)
class Response:
    """What a route answers: `answer` as JSON, else `body` of the Content-Type in `headers`."""

    status: int
    answer: BaseModel | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


Route = Callable[[Request], Response]


def handle(routes: Mapping[str, Route], event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Call the route (`"GET /jobs/{id}"`) and answer as API Gateway wants it.

    To GET takes a token with the scope `read`, every other method one with `generate`. Every
    error is answered in the one shape that is documented.
    """
    request = Request(event, context.get_remaining_time_in_millis() / 1000)
    try:
        response = _route(routes, request)(request)
    except Sd3Error as error:
        response = _failed(error, error, request)
    except Exception as error:  # noqa: BLE001 - the outermost edge: a bug is logged and is a 500
        response = _failed(Sd3Error("Something went wrong here."), error, request)
    headers = {**response.headers, **_cors(request.header("Origin"))}
    body = response.body
    if response.answer is not None:
        headers["Content-Type"] = "application/json"
        body = response.answer.model_dump_json(exclude_none=isinstance(response.answer, ErrorBody))
    return {
        "statusCode": response.status,
        "headers": headers,
        "body": body,
        "isBase64Encoded": False,
    }


def _route(routes: Mapping[str, Route], request: Request) -> Route:
    method: str = request.event["httpMethod"]
    route = routes.get(f"{method} {request.event['resource']}")
    if route is None:
        raise NotFoundError("There is no such route.")
    if not request.is_open:
        require(READ if method == "GET" else GENERATE, request.scopes)
    return route


def _failed(failure: Sd3Error, cause: Exception, request: Request) -> Response:
    fields = {"code": failure.code, "request_id": request.id, "job_id": failure.job_id}
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger().error(failure.message, exc_info=cause, extra=fields)
    else:
        logger().info(failure.code, extra=fields)
    answer = error_body(failure, request_id=request.id)
    headers = {}
    if isinstance(failure, UpstreamUnavailableError | RateLimitedError):
        headers["Retry-After"] = str(ceil(failure.retry_after or RETRY_AFTER_SECONDS))
    elif isinstance(failure, StillRunningError):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Response(failure.status, answer, headers)


@cache
def _allowed_origins() -> frozenset[str]:
    origins = Settings.from_env(os.environ).allowed_origins
    return frozenset(origin.strip() for origin in origins.split(",") if origin.strip())


def _cors(origin: str | None) -> dict[str, str]:
    """Let the page that asks read the answer, if its origin is an allowed one."""
    allowed = _allowed_origins()
    if origin is None or not allowed & {origin, "*"}:
        return {}
    return {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Expose-Headers": "Location, Retry-After, ETag, Preference-Applied",
        "Vary": "Origin",
    }
