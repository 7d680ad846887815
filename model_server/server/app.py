"""The HTTP routes: POST /generate/sd3, GET /health and GET /metrics."""

import time
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse

from model_server.contract.schemas import GenerateRequest
from model_server.server.dependencies import body_parser, token_checker
from model_server.server.errors import add_error_handlers
from model_server.server.limiter import RequestLimiter
from model_server.server.metrics import GENERATE_PATH, Metrics
from model_server.server.runner import EngineRunner
from model_server.settings import Settings


def create_app(settings: Settings, runner: EngineRunner, metrics: Metrics) -> FastAPI:
    """Build the application that serves the engine of `runner`."""
    app = FastAPI(title="SD3 model server", openapi_url=None)
    add_error_handlers(app)
    limiter = RequestLimiter(
        max_concurrent=settings.max_concurrent,
        per_minute=settings.requests_per_minute,
        clock=time.monotonic,
    )
    check_token = token_checker(settings.token)
    parse_body = body_parser(settings.max_body_bytes)

    @app.post(GENERATE_PATH, dependencies=[Depends(check_token)])
    async def generate(request: Annotated[GenerateRequest, Depends(parse_body)]) -> Response:
        if not runner.ready:
            raise HTTPException(503, "The engine is not ready.", {"Retry-After": "5"})
        if runner.engine.rejects(request):
            raise HTTPException(400, "This request violates our Acceptable Use Policy.")
        with limiter.slot():
            content = await runner.generate(request)
        return Response(content, media_type="application/json")

    @app.get("/health")
    async def health() -> Response:
        state = {"engine": runner.engine.name, "ready": runner.ready}
        return JSONResponse(state, 200 if runner.ready else 503)

    @app.get("/metrics")
    async def render_metrics() -> Response:
        return Response(metrics.render(), media_type=metrics.media_type)

    return app
