"""Answers in the shape of OpenAI's Images API: images, events, models and errors."""

from typing import Final

import pydantic_core
from pydantic import BaseModel, Field

from sd3.api.app import Response
from sd3.api.request import Request
from sd3.domain.openai_images import MODEL, OPENAI_NAMES, ImagesRequest
from sd3.errors import (
    ContentPolicyError,
    InvalidRequestError,
    NotFoundError,
    Sd3Error,
    StillRunningError,
)
from sd3.responses.models import ImageResponse, JobResponse

_JSON: Final = {"Content-Type": "application/json"}
_EVENTS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}

_CODES: Final = {
    "missing": "missing_required_parameter",
    "unsupported_value": "unsupported_value",
    "upstream": "unsupported_value",
    "string_too_long": "string_above_max_length",
    "string_too_short": "string_below_min_length",
    "greater_than_equal": "integer_below_min_value",
    "less_than_equal": "integer_above_max_value",
}
"""OpenAI's codes by the types of our field errors. All other types are `invalid_value`."""

_TYPES: Final[dict[int, tuple[str, str | None]]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("invalid_request_error", "insufficient_permissions"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
"""OpenAI's type and code by the status of an error. Other statuses keep our code."""


class ImageItem(BaseModel):
    """An image of an answer. `index` and `seed` are this service's own."""

    b64_json: str | None = None
    url: str | None = None
    index: int
    seed: int


class ImagesAnswer(BaseModel):
    """The images of a request. All after `size` is this service's own."""

    created: int
    data: list[ImageItem]
    background: str = "opaque"
    output_format: str
    size: str = Field(description="What the images have, in pixels.")
    id: str = Field(description="The job: GET /jobs/{id}.")
    cost_usd: float
    upstream: str | None
    ignored: list[str] = Field(description="Fields that were not followed.")
    reused_from: str | None = Field(
        default=None, description="The earlier job of which the images are copies, for $0."
    )


class Model(BaseModel):
    """The model of this service, as OpenAI describes its own."""

    id: str = MODEL
    object: str = "model"
    created: int = 1718150400
    owned_by: str = "sd3-image-service"


class ModelList(BaseModel):
    """GET /models."""

    object: str = "list"
    data: list[Model]


class OpenaiError(BaseModel):
    """What is wrong, in OpenAI's fields, and the ids by which it can be found here."""

    message: str
    type: str
    param: str | None
    code: str | None
    request_id: str | None = None
    job_id: str | None = None


class OpenaiErrorBody(BaseModel):
    """Every response of this door that is no 200."""

    error: OpenaiError


def images_response(job: JobResponse, asked: ImagesRequest) -> Response:
    """Answer with the images of a job that has ended, as JSON or as events.

    Raises ContentPolicyError if every image was removed for safety.
    """
    images = [one for one in job.images if one.image_b64 or one.url]
    if not images:
        raise ContentPolicyError("Every image was removed for safety.")
    answer = ImagesAnswer(
        created=int(job.created_at.timestamp()),
        data=[_item(one, asked.wanted) for one in images],
        output_format=(images[0].content_type or "").removeprefix("image/"),
        size=f"{images[0].width}x{images[0].height}",
        id=job.id,
        cost_usd=job.cost_usd,
        upstream=job.upstream,
        ignored=[*asked.ignored, *(OPENAI_NAMES.get(name, name) for name in job.ignored)],
        reused_from=job.reused_from,
    )
    if not asked.is_streamed:
        return Response(200, answer.model_dump_json(exclude_none=True), _JSON)
    kind = "image_edit" if asked.is_edit else "image_generation"
    return Response(200, "".join(_event(kind, answer, item) for item in answer.data), _EVENTS)


def _item(image: ImageResponse, wanted: str | None) -> ImageItem:
    """Give an image as it is wanted, or both ways; what cannot be base64 is a link anyway.

    Beside base64, Open WebUI would fetch the link, and with a token, which S3 refuses.
    """
    b64 = None if wanted == "url" else image.image_b64
    url = None if wanted == "b64_json" and b64 else image.url
    return ImageItem(b64_json=b64, url=url, index=image.index, seed=image.seed)


def _event(kind: str, answer: ImagesAnswer, item: ImageItem) -> str:
    """Write the last event of an image. It is the only one: a response comes in one piece."""
    name = f"{kind}.completed"
    shared = answer.model_dump(exclude={"data", "created"}, exclude_none=True)
    fields = {"type": name, "created_at": answer.created, **shared}
    text = pydantic_core.to_json(fields | item.model_dump(exclude_none=True)).decode()
    return f"event: {name}\ndata: {text}\n\n"


def models_response(request: Request) -> Response:  # noqa: ARG001 - every route gets a request
    """Answer with the list of models, which is one."""
    return Response(200, ModelList(data=[Model()]))


def model_response(request: Request, model: str) -> Response:  # noqa: ARG001 - as above
    """Answer with the model. Raises NotFoundError for any other name."""
    if model != MODEL:
        raise NotFoundError(f"There is one model, {MODEL}.")
    return Response(200, Model())


def error_response(error: Sd3Error, request_id: str) -> Response:
    """Answer with an error in OpenAI's shape, and say whether its SDKs should repeat the call.

    They repeat every 409 and 5xx by themselves.
    """
    status = 400 if isinstance(error, InvalidRequestError) else error.status
    kind, code = _kind_of(error, status)
    param, message = None, error.message
    if isinstance(error, InvalidRequestError) and error.field_errors:
        first = error.field_errors[0]
        name = str(first.loc[1]) if len(first.loc) > 1 else None
        param, code = OPENAI_NAMES.get(name or "", name), _CODES.get(first.type, "invalid_value")
        message = f"Invalid '{param}': {first.msg}." if param else first.msg
    body = OpenaiErrorBody(
        error=OpenaiError(
            message=message, type=kind, param=param, code=code,
            request_id=request_id, job_id=error.job_id,
        )
    )  # fmt: skip
    is_useless = not error.retryable or error.may_have_charged
    final = is_useless and not isinstance(error, StillRunningError)
    return Response(status, body, {"x-should-retry": "false"} if final else {})


def _kind_of(error: Sd3Error, status: int) -> tuple[str, str | None]:
    if isinstance(error, ContentPolicyError):
        return "image_generation_user_error", "moderation_blocked"
    if status >= 500:
        return "server_error", error.code
    return _TYPES.get(status, ("invalid_request_error", error.code))
