"""The routes of the door for OpenAI's Images API, whose errors have OpenAI's shape."""

from typing import Final, Literal

from pydantic import BaseModel, Field

from sd3.api.openai_images.answer import ImagesAnswer, Model, ModelList, OpenaiErrorBody
from sd3.domain.request_checks import MAX_IMAGES
from tools.openapi.operations import Operation, Parameter, Response


class GenerationBody(BaseModel):
    """A request of OpenAI's Images API. What is not followed is named in `ignored`."""

    prompt: str = Field(min_length=1, max_length=10_000, description="What to generate.")
    n: int | None = Field(default=None, ge=1, le=MAX_IMAGES, description="Images to generate.")
    size: str | None = Field(
        default=None,
        description="`auto` or `WIDTHxHEIGHT`, 64 to 3840 pixels a side and 3:1 at most. A size "
        "that the model lacks and that is smaller is made exact; the answer has the true one.",
    )
    output_format: Literal["jpeg", "png"] | None = Field(default=None, description="File format.")
    response_format: Literal["url", "b64_json"] | None = Field(
        default=None, description="By default an image has both, as far as base64 fits 4.5 MB."
    )
    stream: bool | None = Field(
        default=None, description="Answer with text/event-stream, in one piece."
    )
    model: str | None = Field(default=None, description="Any name.")
    negative_prompt: str | None = Field(default=None, description="As for POST /generate/sd3.")
    seed: int | None = Field(default=None, ge=1, le=2**32 - 1, description="The first seed.")


class EditBody(GenerationBody):
    """An edit as JSON. As multipart/form-data, the image is a file in `image`."""

    image: str = Field(description="The image to begin with: a data: URI or base64.")


_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "As for POST /generate/sd3. OpenAI's SDKs send none by themselves.",
    {"type": "string"},
)
_CACHE_CONTROL: Final = Parameter(
    "Cache-Control", "header", "As for POST /generate/sd3.", {"type": "string"}
)
_CANCEL_AFTER: Final = Parameter(
    "Cancel-After", "header", "As for POST /generate/sd3.", {"type": "string"}
)
_MODEL: Final = Parameter("model", "path", "The model's name.", {"type": "string"})
_IMAGES: Final = Response(200, "The images, when the job has ended.", (ImagesAnswer,))
_EVENTS: Final = "With `stream`, the answer is text/event-stream: an event for each image."
_FAILURES: Final = (400, 401, 402, 403, 409, 410, 412, 413, 415, 429, 500, 502, 503, 504)

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/images/generations",
        id="openaiGenerate",
        tag="openai",
        summary="Generate images, as OpenAI's Images API does",
        description=_EVENTS,
        parameters=(_KEY, _CANCEL_AFTER, _CACHE_CONTROL),
        body=GenerationBody,
        body_examples={"A prompt alone": {"prompt": "a lighthouse at dusk"}},
        responses=(_IMAGES,),
        errors=(),
        other_errors=(OpenaiErrorBody, _FAILURES),
    ),
    Operation(
        method="post",
        path="/images/edits",
        id="openaiEdit",
        tag="openai",
        summary="Generate images from another one, as OpenAI's Images API does",
        description=_EVENTS,
        parameters=(_KEY, _CANCEL_AFTER, _CACHE_CONTROL),
        body=EditBody,
        responses=(_IMAGES,),
        errors=(),
        other_errors=(OpenaiErrorBody, _FAILURES),
    ),
    Operation(
        method="get",
        path="/models",
        id="openaiModels",
        tag="openai",
        summary="List the one model, as OpenAI's API does",
        responses=(Response(200, "The model.", (ModelList,)),),
        errors=(),
        other_errors=(OpenaiErrorBody, (401, 403, 429, 500)),
    ),
    Operation(
        method="get",
        path="/models/{model}",
        id="openaiModel",
        tag="openai",
        summary="Read the model, as OpenAI's API does",
        parameters=(_MODEL,),
        responses=(Response(200, "The model.", (Model,)),),
        errors=(),
        other_errors=(OpenaiErrorBody, (401, 403, 404, 429, 500)),
    ),
)
