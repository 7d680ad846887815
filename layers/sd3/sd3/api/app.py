"""The HTTP edge: Powertools' resolver, with the errors and the headers that the API documents."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.event_handler import api_gateway
from aws_lambda_powertools.event_handler.content_types import APPLICATION_JSON
from aws_lambda_powertools.logging.correlation_paths import API_GATEWAY_REST
from pydantic import BaseModel

from sd3.api.request import Request
from sd3.domain.client import GENERATE, READ
from sd3.errors import (
    ForbiddenError,
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

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent
    from aws_lambda_powertools.utilities.typing import LambdaContext

RETRY_AFTER_SECONDS: Final = 5
"""For how long a client should wait when the upstream did not say."""

JOB_RETRY_AFTER: Final = "2"
"""Seconds until a job that waits or runs is worth asking for again."""


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

    A route is called with the Request and the parameters of its path. GET needs a token with the
    scope `read`, every other method one with `generate`.
    """

    def __init__(self) -> None:
        super().__init__(cors=_Cors(), serializer=_to_json, debug=False)
        self.use([RestApi._authorize])  # Powertools gives it this resolver as its first argument
        self.not_found(lambda _: self._answer_error(NotFoundError("There is no such route.")))
        self.exception_handler(Sd3Error)(self._answer_error)
        self.exception_handler(Exception)(self._answer_bug)

    def resolve(self, event: Mapping[str, Any], context: "LambdaContext") -> dict[str, Any]:
        """Respond to an event of the gateway. Every line that is logged has the request's id."""
        resolve = logger().inject_lambda_context(
            super().resolve,
            log_event=False,  # it has the token and the prompt, whatever the environment says
            correlation_id_path=API_GATEWAY_REST,
        )
        return resolve(event, context)

    def _resolve(self) -> "api_gateway.ResponseBuilder[BaseProxyEvent]":
        """Call the route that the gateway chose, by its `resource`.

        Powertools would match the path again. But a custom domain adds a base path, and Powertools'
        pattern does not match every character that clients can send.
        """
        event = self.current_event
        for route in self._static_routes + self._dynamic_routes:
            if (route.method, route.openapi_path) == (event.http_method, event.resource):
                self.context.update(_route=route, _path=event.resource)
                arguments: dict[str, Any] = {"request": self._request(), **event.path_parameters}
                return self._call_route(route, arguments)
        return self._handle_not_found(event.http_method, event.resource)

    def _request(self) -> Request:
        seconds = self.lambda_context.get_remaining_time_in_millis() / 1000
        return Request(self.current_event, seconds)

    def _authorize(self, next_middleware: Callable[["RestApi"], Response]) -> Response:
        request = self._request()
        if not request.is_open:
            method = self.current_event.http_method
            scope = READ if method == "GET" else GENERATE
            if scope not in request.scopes:
                raise ForbiddenError(f"This takes a token with the scope {scope}.")
        return next_middleware(self)

    def _answer_bug(self, bug: Exception) -> Response:
        """Respond with 500 instead of raising: the client gets the request's id and the job's.

        Lambda's Errors metric does not count it. The log and the alarm for 5XX responses show it.
        """
        return self._answer_error(Sd3Error("Something went wrong here."), bug)

    def _answer_error(self, error: Sd3Error, cause: Exception | None = None) -> Response:
        """Log an error once, and render it in the one shape that is documented."""
        fields = {"code": error.code, "job_id": error.job_id}
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger().error(error.message, exc_info=cause or error, extra=fields)
        else:
            logger().info(error.code, extra=fields)
        headers = {}
        if isinstance(error, UpstreamUnavailableError | RateLimitedError):
            headers["Retry-After"] = str(ceil(error.retry_after or RETRY_AFTER_SECONDS))
        elif isinstance(error, StillRunningError):
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        body = error_body(error, request_id=self._request().id)
        return Response(error.status, body, headers)


class _Cors(api_gateway.CORSConfig):
    """The CORS headers of responses. The gateway answers preflight requests by itself."""

    def __init__(self) -> None:
        super().__init__(expose_headers=["Location", "Retry-After", "ETag", "Preference-Applied"])

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
    named = Settings.from_env(os.environ).allowed_origins.split(",")
    origins = [origin.strip() for origin in named if origin.strip()]
    return ["*"] if "*" in origins else origins


def _to_json(body: Any) -> str:
    """Write a model as JSON. An error is written without its empty fields."""
    text: str = body.model_dump_json(exclude_none=isinstance(body, ErrorBody))
    return text
