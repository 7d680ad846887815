"""Where the concrete classes meet: settings, AWS, the upstream and the HTTP edge."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import (
    APIGatewayRestResolver,
    CORSConfig,
    Response,
    content_types,
)
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel

from sd3.aws import POOL_SIZE, Aws
from sd3.errors import (
    InvalidRequestError,
    NotFoundError,
    Sd3Error,
    StorageError,
    UpstreamUnavailableError,
)
from sd3.jobs import JobStore
from sd3.models import ErrorAnswer, FaultAnswer
from sd3.service import Service, utc_now
from sd3.settings import Settings
from sd3.storage import ImageStore
from sd3.upstreams import UPSTREAMS

RETRY_AFTER_SECONDS: Final = 5
"""What a client is told to wait when the upstream did not say."""


@cache
def logger() -> Logger:
    """The structured log; it never holds tokens, prompts, links or pictures."""
    return Logger()


@cache
def service() -> Service:
    """The service of this process, from its environment."""
    return build(Settings.from_env(os.environ), Aws())


def build(settings: Settings, aws: Aws) -> Service:
    """Put a service together. Nothing is called and no client is used yet."""
    return Service(
        jobs=JobStore(aws.dynamodb, settings.jobs_table),
        images=ImageStore(
            aws.s3,
            settings.images_bucket,
            url_ttl=timedelta(seconds=settings.url_ttl_seconds),
            credentials_expiry=aws.credentials_expiry,
            parallel=POOL_SIZE,
        ),
        upstream=cache(lambda: UPSTREAMS[settings.upstream](settings, _token(aws, settings))),
        sync_image_steps=settings.sync_image_steps,
        retention=timedelta(days=settings.image_retention_days),
        now=utc_now,
        monotonic=time.monotonic,
    )


def rest_api() -> APIGatewayRestResolver:
    """A resolver for one function: CORS, and every error in the one shape that is documented."""
    origins = Settings.from_env(os.environ).allowed_origins.split(",")
    cors = CORSConfig(
        allow_origin=origins[0],
        extra_origins=origins[1:],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Prefer"],
        expose_headers=["Location", "Retry-After"],
        max_age=600,
    )
    api = APIGatewayRestResolver(cors=cors if origins[0] else None)

    def answer_error(error: Exception) -> Response[str]:
        failure = error if isinstance(error, Sd3Error) else Sd3Error("Something went wrong here.")
        request_id = api.current_event.request_context.request_id
        _log(failure, error, request_id=request_id)
        return _error_response(failure, request_id=request_id)

    api.exception_handler(Exception)(answer_error)
    api.not_found(lambda _: answer_error(NotFoundError("There is no such route.")))
    return api


def _log(failure: Sd3Error, cause: Exception, *, request_id: str | None) -> None:
    fields = {"code": failure.code, "request_id": request_id, "job_id": failure.job_id}
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger().error(failure.message, exc_info=cause, extra=fields)
    else:
        logger().info(failure.code, extra=fields)


def _error_response(failure: Sd3Error, *, request_id: str | None) -> Response[str]:
    faults = failure.faults if isinstance(failure, InvalidRequestError) else None
    answer = ErrorAnswer(
        code=failure.code,
        message=failure.message,
        request_id=request_id or "",
        job_id=failure.job_id,
        detail=faults and [FaultAnswer(loc=list(f.loc), msg=f.msg, type=f.type) for f in faults],
    )
    headers = {}
    if isinstance(failure, UpstreamUnavailableError):
        headers["Retry-After"] = str(ceil(failure.retry_after or RETRY_AFTER_SECONDS))
    return json_response(failure.status, answer, headers=headers)


def json_response(
    status: int, answer: BaseModel, *, headers: dict[str, str] | None = None
) -> Response[str]:
    """An answer of the HTTP API; what is None in an error is left out."""
    body = answer.model_dump_json(exclude_none=isinstance(answer, ErrorAnswer))
    return Response(status, content_types.APPLICATION_JSON, body, headers=headers or {})


def _token(aws: Aws, settings: Settings) -> Callable[[], str]:
    """Read the upstream's token when it is first needed, once."""

    @cache
    def token() -> str:
        try:
            return aws.secrets.get_secret_value(SecretId=settings.upstream_secret)["SecretString"]
        except (BotoCoreError, ClientError, KeyError) as error:
            raise StorageError("The upstream's secret could not be read.") from error

    return token
