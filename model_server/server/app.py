"""The HTTP edge: bearer token, body, request, and the answers that are not pictures."""

import hmac
import logging
import time
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from model_server.contract.schemas import GenerateRequest
from model_server.engines.protocol import EngineClosedError, EngineMemoryError
from model_server.server.limiter import Admission, BusyError
from model_server.server.metrics import DRAWING_PATH, Metrics
from model_server.server.runner import Studio
from model_server.settings import Settings

_LOG: Final = logging.getLogger("uvicorn.error")


class RefusalError(Exception):
    """An answer with nothing but a status, a message and perhaps headers."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def create_app(settings: Settings, studio: Studio, metrics: Metrics) -> FastAPI:
    """Build the application: POST /generate/sd3, GET /health and GET /metrics."""
    app = FastAPI(title="SD3 model server", openapi_url=None)
    app.add_exception_handler(RequestValidationError, _faults)
    app.add_exception_handler(RefusalError, _refusal)
    app.add_exception_handler(ClientDisconnect, _gone)
    admission = Admission(
        max_concurrent=settings.max_concurrent,
        per_minute=settings.requests_per_minute,
        clock=time.monotonic,
    )

    def check_token(request: Request) -> None:
        _check_token(request, settings.token)

    async def read_body(request: Request) -> bytes:
        return await _read_body(request, settings.max_body_bytes)

    # Not a coroutine, so that FastAPI decodes a large init image in a thread.
    def parse(body: Annotated[bytes, Depends(read_body)]) -> GenerateRequest:
        return _parse(body)

    @app.post(DRAWING_PATH, dependencies=[Depends(check_token)])
    async def generate(wanted: Annotated[GenerateRequest, Depends(parse)]) -> Response:
        return await _generate(wanted, studio, admission)

    @app.get("/health")
    async def health() -> Response:
        state = {"engine": studio.engine.name, "ready": studio.ready}
        return JSONResponse(state, status_code=200 if studio.ready else 503)

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(metrics.text(), media_type=metrics.media_type)

    return app


async def _generate(wanted: GenerateRequest, studio: Studio, admission: Admission) -> Response:
    if not studio.ready:
        raise RefusalError(503, "The engine is not ready.", Retry_After="5")
    if studio.engine.refuses(wanted):
        raise RefusalError(400, "This request violates our Acceptable Use Policy.")
    try:
        with admission.place():
            content = await studio.answer(wanted)
    except BusyError as error:
        raise RefusalError(429, "Too many requests.", Retry_After=str(error.retry_after)) from error
    except EngineClosedError as error:
        raise RefusalError(503, "The server is shutting down.", Retry_After="5") from error
    except EngineMemoryError as error:
        _LOG.error("%s", error)
        raise RefusalError(500, "A picture of that size does not fit the memory.") from error
    return Response(content, media_type="application/json")


def _check_token(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise RefusalError(401, "A bearer token is needed.", WWW_Authenticate="Bearer")
    if not hmac.compare_digest(given.encode("latin-1"), token.encode()):
        raise RefusalError(403, "The bearer token is not known.")


async def _read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        # Read on for a while, keeping nothing: a client that is cut off while it still sends
        # sees a broken connection instead of the answer.
        if size > 2 * limit:
            break
        if size <= limit:
            body += chunk
    if size > limit:
        raise RefusalError(413, f"The body should be at most {limit} bytes.")
    return bytes(body)


def _parse(body: bytes) -> GenerateRequest:
    try:
        return GenerateRequest.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
    raise RequestValidationError(faults)


async def _faults(_: Request, error: Exception) -> Response:
    """FastAPI's own answer echoes the input, and fails when that cannot be written as JSON."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this only
    detail = [
        {"loc": ["body", *map(_shorten, fault["loc"])], "msg": fault["msg"], "type": fault["type"]}
        for fault in error.errors()
    ]
    return JSONResponse({"detail": detail}, status_code=422)


def _shorten(part: str | int) -> str | int:
    return part[:64] if isinstance(part, str) else part


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)  # noqa: S101 - registered for this only
    return JSONResponse({"message": error.message}, status_code=error.status, headers=error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody reads this, and a client that hangs up is no fault to log."""
    return Response(status_code=400)
