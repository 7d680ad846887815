"""The HTTP edge: Powertools' resolver, with the errors and the headers that the API documents."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aws_lambda_powertools.event_handler import api_gateway
from aws_lambda_powertools.event_handler.content_types import APPLICATION_JSON
from pydantic import BaseModel

from sd3.api.request import NoQuery, Request
from sd3.domain.client import GENERATE, READ, require
from sd3.domain.job import JOB_ID, unpadded
from sd3.errors import (
    MethodNotAllowedError,
    NotFoundError,
    RateLimitedError,
    Sd3Error,
    StillRunningError,
    StorageBusyError,
    UnauthorizedError,
    UnexpectedError,
    UpstreamUnavailableError,
)
from sd3.observability import logger
from sd3.responses.models import ErrorBody, JobResponse
from sd3.responses.render import error_body
from sd3.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent
    from aws_lambda_powertools.utilities.typing import LambdaContext

RETRY_AFTER_SECONDS: Final = 5
"""For how long a client should wait when the upstream did not say."""

JOB_RETRY_AFTER: Final = (2, 15)
"""The least and the most seconds until an open job is worth asking for again."""

EXPOSED_HEADERS: Final = (
    "Location", "Retry-After", "ETag", "Age", "Preference-Applied", "X-Amzn-RequestId",
    "X-Amz-Apigw-Id",
)  # fmt: skip
"""What pages may read. The template's list for the gateway's own responses is the same."""


def job_retry_after(eta_seconds: float | None) -> str:
    """Say in a header when to ask for an open job again: when it has probably ended."""
    least, most = JOB_RETRY_AFTER
    return str(min(max(ceil(eta_seconds or 0), least), most))


def age_of(job: JobResponse, *, now: datetime) -> dict[str, str]:
    """Say in a header how old the images are that a job was answered with; none if they are new."""
    if job.reused_at is None:
        return {}
    return {"Age": str(max(int((now - job.reused_at).total_seconds()), 0))}


_READING: Final = frozenset(("GET", "HEAD"))

_PARAMETER: Final = re.compile("{([a-z]+)}")
"""A parameter in the gateway's name of a route."""

_TEXTS: Final = ("httpMethod", "resource", "path")
_MAPS: Final = ("headers", "pathParameters", "queryStringParameters")
_MAPS_OF_LISTS: Final = ("multiValueHeaders", "multiValueQueryStringParameters")
"""What is read of an event beside its context and its body."""


class Response(api_gateway.Response[BaseModel | str]):
    """A route's response: a model as JSON, or text of the Content-Type in `headers`."""

    def __init__(
        self,
        status: int,
        body: BaseModel | str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, None if isinstance(body, str) else APPLICATION_JSON, body, headers)


class RestApi(api_gateway.APIGatewayRestResolver):
    """The routes of a function, and what all routes have in common.

    A route is called with the Request and the parameters of its path. GET and HEAD need a token
    with the scope `read`, every other method one with `generate`, and routes of `any_scope` check
    the scopes themselves. A query parameter that a route does not have is an InvalidRequestError.
    """

    def __init__(
        self,
        *,
        open_routes: frozenset[str] = frozenset(),
        any_scope: frozenset[str] = frozenset(),
        queries: Mapping[str, type[BaseModel]] | None = None,
        error_responses: Mapping[str, Callable[[Sd3Error, str], Response]] | None = None,
    ) -> None:
        """`open_routes` need no token; `queries` are the parameters of routes that have some.

        `error_responses` make the response of an error, with the id of the request, for routes
        that have errors of another shape. All name a route by the gateway's `resource`.
        """
        super().__init__(cors=_Cors(), serializer=_to_json, debug=False)
        self._response_builder_class = _ResponseBuilder
        self._open_routes, self._any_scope = open_routes, any_scope
        self._queries = queries or {}
        self._error_responses = error_responses or {}
        self.use([RestApi._check])  # Powertools gives it this resolver as its first argument
        self.not_found(lambda _: self._answer_error(NotFoundError("There is no such route.")))
        self.exception_handler(Sd3Error)(self._answer_error)
        self.exception_handler(Exception)(self._answer_bug)

    def resolve(self, event: object, context: "LambdaContext") -> dict[str, Any]:
        """Respond to an event of the gateway. Every line that is logged has the request's id.

        An event of somebody else, as a warm-up sends it, is a 404 like an unknown route.
        """
        proxied = _proxy_event(event)
        resolve = logger().inject_lambda_context(
            super().resolve,
            log_event=False,  # it has the token and the prompt, whatever the environment says
            correlation_id_path="requestContext.extendedRequestId",
        )
        response: dict[str, Any] = resolve(proxied, context)
        return response | {"body": ""} if proxied["httpMethod"] == "HEAD" else response

    def _resolve(self) -> "api_gateway.ResponseBuilder[BaseProxyEvent]":
        """Call the route that the gateway chose, by its `resource`.

        Powertools would match the path again. But a custom domain adds a base path, and Powertools'
        pattern does not match every character that clients can send.
        """
        event = self.current_event
        parameters = event.path_parameters
        for route in self._static_routes + self._dynamic_routes:
            is_chosen = (route.method, route.openapi_path) == (event.http_method, event.resource)
            named = set(_PARAMETER.findall(event.resource))
            if is_chosen and parameters.keys() >= named:
                request = self._request()
                self.context.update(_route=route, _path=event.resource, request=request)
                arguments: dict[str, Any] = {"request": request}
                arguments |= {name: _parameter(name, parameters[name]) for name in named}
                return self._call_route(route, arguments)
        return self._handle_not_found(event.http_method, event.resource)

    def _request(self) -> Request:
        seconds = self.lambda_context.get_remaining_time_in_millis() / 1000
        return Request(self.current_event, seconds)

    def _check(self, next_middleware: Callable[["RestApi"], Response]) -> Response:
        """Refuse a request without the scope or with a query that its route does not have."""
        request: Request | None = self.context.get("request")
        if request:  # otherwise there is no such route
            event = self.current_event
            if event.resource not in self._open_routes:
                scope = READ if event.http_method in _READING else GENERATE
                _authorize(request, None if event.resource in self._any_scope else scope)
            request.query(self._queries.get(event.resource, NoQuery))
        return next_middleware(self)

    def _answer_bug(self, bug: Exception) -> Response:
        """Respond with 500 instead of raising: the client gets the request's id and the job's.

        Lambda's Errors metric does not count it. The log and the alarm for 5XX responses show it.
        """
        return self._answer_error(Sd3Error("Something went wrong here."), bug)

    def _answer_error(self, error: Sd3Error, cause: Exception | None = None) -> Response:
        """Log an error once, and render it in the one shape that is documented."""
        log_error(error, cause)
        headers = {}
        if isinstance(error, UpstreamUnavailableError | RateLimitedError):
            headers["Retry-After"] = str(ceil(error.retry_after or RETRY_AFTER_SECONDS))
        elif isinstance(error, StillRunningError):
            eta = error.eta_seconds
            headers["Retry-After"] = job_retry_after(RETRY_AFTER_SECONDS if eta is None else eta)
        elif isinstance(error, StorageBusyError):
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        elif isinstance(error, UnauthorizedError):
            headers["WWW-Authenticate"] = "Bearer"
        elif isinstance(error, MethodNotAllowedError):
            headers["Allow"] = error.allowed
        request_id = self._request().id
        if respond := self._error_responses.get(self.current_event.resource):
            response = respond(error, request_id)
            response.headers.update(headers)
            return response
        return Response(error.status, error_body(error, request_id=request_id), headers)


def log_error(error: Sd3Error, cause: Exception | None = None) -> None:
    """Log an error that a client gets, with the stack of `cause` or its own if it is not theirs."""
    fields = {"code": error.code, "job_id": error.job_id}
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger().error(error.message, exc_info=_origin_of(cause or error), extra=fields)
    else:
        logger().info(error.code, extra=fields)


def is_allowed_origin(origin: str) -> bool:
    """Return whether web pages of an origin may call the API."""
    return bool({"*", origin} & {*_allowed_origins()})


def _authorize(request: Request, scope: str | None) -> None:
    if not request.client_id:  # the gateway's console tests a route without its authorizer
        raise UnauthorizedError("Send Authorization: Bearer and a token of this service.")
    if scope:
        require(scope, request.scopes)


def _parameter(name: str, text: str) -> str:
    return unpadded(text) if name == "id" else text


def _proxy_event(event: object) -> dict[str, Any]:
    """Complete an event to one of the gateway, for a route that does not exist if it is none.

    The gateway's console leaves out what it has no value for, and plugins that keep functions warm
    send events of their own. A request without an id gets one.
    """
    given = event if isinstance(event, dict) else {}
    texts = {name: _text(given.get(name)) for name in _TEXTS}
    maps = {name: _map_of(_text, given.get(name)) for name in _MAPS}
    lists = {name: _map_of(_texts, given.get(name)) for name in _MAPS_OF_LISTS}
    context = _of_type(dict, given.get("requestContext")) or {}
    request_id = _of_type(str, context.get("extendedRequestId"), "")
    if not JOB_ID.fullmatch(unpadded(request_id)):
        request_id = uuid4().hex
    context = context | {"extendedRequestId": request_id}
    body = _of_type(str, given.get("body"))
    return {**given, **texts, **maps, **lists, "body": body, "requestContext": context}


def _of_type(kind: type, value: object, default: object = None) -> Any:
    return value if isinstance(value, kind) else default


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [_text(each) for each in value] if isinstance(value, list) else []


def _map_of(read: Callable[[object], object], value: object) -> dict[str, object] | None:
    return {name: read(each) for name, each in value.items()} if isinstance(value, dict) else None


class _ResponseBuilder(api_gateway.ResponseBuilder["BaseProxyEvent"]):
    """Powertools' builder, whose CORS headers would replace a route's own Vary."""

    def _add_cors(self, event: "BaseProxyEvent", cors: api_gateway.CORSConfig) -> None:
        own = self.response.headers.get("Vary")
        super()._add_cors(event, cors)
        if own and self.response.headers["Vary"] != own:
            self.response.headers["Vary"] = f"{self.response.headers['Vary']}, {own}"


def _origin_of(error: BaseException) -> BaseException:
    """Return the bug of an UnexpectedError, by which the log can be searched."""
    return (error.__cause__ if isinstance(error, UnexpectedError) else None) or error


class _Cors(api_gateway.CORSConfig):
    """The CORS headers of responses. The gateway answers preflight requests by itself."""

    def __init__(self) -> None:
        super().__init__(expose_headers=list(EXPOSED_HEADERS))

    def allowed_origin(self, extracted_origin: str) -> str | None:
        """Return the origin to allow; None for one that is not allowed."""
        self._allowed_origins = _allowed_origins()  # here, since nothing is read at import
        return super().allowed_origin(extracted_origin)

    def to_dict(self, origin: str | None) -> dict[str, str]:
        """Write the headers. Powertools' own lack Vary, and have headers of preflight responses."""
        exposed = ", ".join(self.expose_headers)
        ours = {"Access-Control-Expose-Headers": exposed, "Vary": "Origin"}
        return {"Access-Control-Allow-Origin": origin, **ours} if origin else {}


@cache
def _allowed_origins() -> list[str]:
    # Without the others: if one of them is wrong, the error needs these headers all the same.
    environ = {name: os.environ[name] for name in ("ALLOWED_ORIGINS",) if name in os.environ}
    named = Settings.from_env(environ).allowed_origins.split(",")
    origins = [origin.strip() for origin in named if origin.strip()]
    return ["*"] if "*" in origins else origins


def _to_json(body: Any) -> str:
    """Write a model as JSON. An error is written without its empty fields."""
    text: str = body.model_dump_json(exclude_none=isinstance(body, ErrorBody))
    return text
