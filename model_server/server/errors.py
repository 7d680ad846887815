"""Exceptions as HTTP responses."""

import logging
from typing import Final

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from model_server.engines.protocol import EngineClosedError, EngineMemoryError
from model_server.server.limiter import TooManyRequestsError

_LOG: Final = logging.getLogger("uvicorn.error")
_MAX_NAME_LENGTH: Final = 64
"""The name of an unknown field is the client's text: only its beginning is repeated."""


def add_error_handlers(app: FastAPI) -> None:
    """Have `app` respond to the exceptions of its routes and dependencies."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(TooManyRequestsError, _too_many_requests)
    app.add_exception_handler(EngineClosedError, _engine_closed)
    app.add_exception_handler(EngineMemoryError, _engine_memory)
    app.add_exception_handler(ClientDisconnect, _client_disconnect)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)


async def _validation_error(_: Request, error: Exception) -> Response:
    """Leave out the input, which FastAPI's own handler quotes and cannot always write as JSON."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    detail = [
        {"loc": ["body", *map(_shorten, each["loc"])], "msg": each["msg"], "type": each["type"]}
        for each in error.errors()
    ]
    return JSONResponse({"detail": detail}, 422)


def _shorten(name: str | int) -> str | int:
    return name[:_MAX_NAME_LENGTH] if isinstance(name, str) else name


async def _too_many_requests(_: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyRequestsError)  # noqa: S101 - registered for this class only
    headers = {"Retry-After": str(error.retry_after)}
    return JSONResponse({"message": "Too many requests."}, 429, headers)


async def _engine_closed(_: Request, __: Exception) -> Response:
    return JSONResponse({"message": "The server is shutting down."}, 503, {"Retry-After": "5"})


async def _engine_memory(_: Request, error: Exception) -> Response:
    _LOG.error("%s", error)
    return JSONResponse({"message": "An image of this size does not fit in memory."}, 413)


async def _client_disconnect(_: Request, __: Exception) -> Response:
    """Return a response that nobody reads; without it the disconnect is logged as an error."""
    return Response(status_code=400)
