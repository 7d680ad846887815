"""The HTTP edge: an API Gateway proxy event in, its answer out.

The gateway has chosen the route by then, so a dict of routes is all that is left to do. Powertools'
resolver would match it again, for a fifth of a cold start.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import Any, Final

from pydantic import BaseModel

from sd3.bootstrap import logger
from sd3.errors import (
    Fault,
    InvalidJsonError,
    InvalidRequestError,
    NotFoundError,
    Sd3Error,
    TooLargeError,
    UnsupportedMediaTypeError,
    UpstreamUnavailableError,
)
from sd3.models import ErrorAnswer, FaultAnswer
from sd3.settings import Settings

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""What Lambda takes; a larger body never gets here on AWS."""

MAX_KEY: Final = 255

RETRY_AFTER_SECONDS: Final = 5
"""What a client is told to wait when the upstream did not say."""


@dataclass(frozen=True)
class Request:
    """What a route is called with: the gateway's event, and the seconds until Lambda ends it."""

    event: Mapping[str, Any]
    seconds: float

    @property
    def id(self) -> str:
        """The gateway's id of this request; a job that it makes has the same."""
        return str(self.event["requestContext"]["requestId"])

    @property
    def client_id(self) -> str:
        """Whoever the authorizer found to hold the token."""
        return str(self.event["requestContext"]["authorizer"]["client_id"])

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the path, by the names that the template gives them."""
        return self.event["pathParameters"] or {}

    def header(self, name: str) -> str | None:
        """A header, whatever the case of its name; None when it was not sent."""
        headers: Mapping[str, str] = self.event["headers"] or {}
        wanted = name.lower()
        return next((text for key, text in headers.items() if key.lower() == wanted), None)

    def prefers(self, name: str) -> str | None:
        """What the Prefer header (RFC 7240) says of one preference; None if it says nothing."""
        for preference in (self.header("Prefer") or "").split(","):
            said, _, value = preference.partition(";")[0].partition("=")
            if said.strip().lower() == name:
                return value.strip().strip('"')
        return None

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key, 1 to 255 printable ASCII characters; InvalidRequestError else."""
        key = self.header("Idempotency-Key")
        if key is None or (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
            return key
        msg = f"should be 1 to {MAX_KEY} printable ASCII characters"
        raise InvalidRequestError([Fault(("header", "Idempotency-Key"), msg, "idempotency_key")])

    def json_body(self) -> bytes | str:
        """The body as it came.

        Raises UnsupportedMediaTypeError, TooLargeError, and InvalidJsonError for what no decoder
        can read.
        """
        media_type = (self.header("Content-Type") or "application/json").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaTypeError("The body must be application/json.")
        body: str = self.event["body"] or ""
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
        if not self.event.get("isBase64Encoded"):
            return body
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise InvalidJsonError("The body is not JSON.") from error


@dataclass(frozen=True)
class Response:
    """What a route answers."""

    status: int
    answer: BaseModel
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[[Request], Response]


def handle(routes: Mapping[str, Route], event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Call the route (`"GET /jobs/{id}"`) and answer as API Gateway wants it.

    Every error is answered in the one shape that is documented.
    """
    request = Request(event, context.get_remaining_time_in_millis() / 1000)
    try:
        response = _route(routes, event)(request)
    except Sd3Error as error:
        response = _failed(error, error, request)
    except Exception as error:  # noqa: BLE001 - the outermost edge: a bug is logged and is a 500
        response = _failed(Sd3Error("Something went wrong here."), error, request)
    return {
        "statusCode": response.status,
        "headers": {
            "Content-Type": "application/json",
            **response.headers,
            **_cors(request.header("Origin")),
        },
        "body": response.answer.model_dump_json(
            exclude_none=isinstance(response.answer, ErrorAnswer)
        ),
        "isBase64Encoded": False,
    }


def _route(routes: Mapping[str, Route], event: Mapping[str, Any]) -> Route:
    route = routes.get(f"{event['httpMethod']} {event['resource']}")
    if route is None:
        raise NotFoundError("There is no such route.")
    return route


def _failed(failure: Sd3Error, cause: Exception, request: Request) -> Response:
    fields = {"code": failure.code, "request_id": request.id, "job_id": failure.job_id}
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger().error(failure.message, exc_info=cause, extra=fields)
    else:
        logger().info(failure.code, extra=fields)
    faults = failure.faults if isinstance(failure, InvalidRequestError) else None
    answer = ErrorAnswer(
        code=failure.code,
        message=failure.message,
        request_id=request.id,
        job_id=failure.job_id,
        detail=faults and [FaultAnswer(loc=list(f.loc), msg=f.msg, type=f.type) for f in faults],
    )
    headers = {}
    if isinstance(failure, UpstreamUnavailableError):
        headers["Retry-After"] = str(ceil(failure.retry_after or RETRY_AFTER_SECONDS))
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
        "Access-Control-Expose-Headers": "Location, Retry-After",
        "Vary": "Origin",
    }
