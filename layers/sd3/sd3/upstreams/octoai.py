"""The upstream octoai: one call generates all images, as base64 in JSON."""

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Final

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field

from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.image import Image
from sd3.domain.job import JobError
from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.domain.request_checks import MAX_IMAGES
from sd3.errors import ContentPolicyError, FieldError, UpstreamError, UpstreamResponseError
from sd3.http.auth import ApiKey, BearerAuth
from sd3.http.base64_json import (
    NoneIfInvalid,
    Positions,
    parse_response,
    read_image_at,
    with_image,
)
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpSession
from sd3.settings import Rate
from sd3.upstreams.init_image import InitImagePreparer

PATH: Final = "/generate/sd3"

MICROS_PER_STEP: Final = 1_000
"""An image of 30 steps costs $0.03. The price is proportional to the steps."""

_POLICY: Final = b"Acceptable Use Policy"

_NULL: Final = "null"  # what an old page of OctoAI's documentation has in place of null

_ALGORITHM: Final = "algorithmicMedia"
"""What the header X-Digital-Source-Type says of images that no trained model made."""

_MAX_ENGINE: Final = 200  # characters of the header X-Engine

_Finite = Annotated[float | None, Field(allow_inf_nan=False), NoneIfInvalid]


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    image_b64: str | None = None
    removed_for_safety: Annotated[bool | None, Field(strict=False), NoneIfInvalid] = None
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED), NoneIfInvalid] = None
    safety_score: _Finite = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    images: list[_Image]
    prediction_time_ms: _Finite = None


class OctoaiUpstream:
    """OctoAI's SD3 API, or a server that implements it."""

    name = "octoai"
    images_per_call = MAX_IMAGES
    rate: Rate | None = None
    model: str | None = None
    pause_seconds = 10  # its free tier had 10 calls a minute

    def __init__(self, *, base_url: str, key: ApiKey, http: HttpSession | None = None) -> None:
        """Set up the upstream without opening a connection.

        Raises ValueError for an empty base URL, and for one that HttpSession does not accept.
        """
        if not base_url:
            raise ValueError("octoai's own host is closed: UPSTREAM_URL must say where another is")
        self._http = http or HttpSession(base_url)
        self._key = key
        self._init_images = InitImagePreparer(any_size=True)

    def price(self, request: GenerateRequest) -> int:
        """Return the price of an image in micro-dollars, of any size, also if it is removed."""
        return MICROS_PER_STEP * request.steps

    def unsupported(self, _request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:  # noqa: ARG002 - it supports both
        """Return no errors: the service's contract is OctoAI's."""
        return ()

    def ignored(self, _request: GenerateRequest) -> tuple[str, ...]:
        """Return no fields: the service's contract is OctoAI's."""
        return ()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate all images in one call; see Upstream.generate."""
        seeds = tuple(task.seeds.values())
        request, init_image = task.request, task.init_image
        if init_image:
            init_image = self._init_images.prepare(
                init_image, request.width, request.height, request.init_image_fit
            )
        response = self._http.post(
            PATH,
            auth=BearerAuth(self._key),
            headers={"Content-Type": "application/json"},
            body=request_body(request, seeds, init_image),
            deadline=task.deadline,
            explain=_explain,
        )
        result = read_response(response.body, seeds)
        engine = response.headers.get("X-Engine", "")[:_MAX_ENGINE] or None
        is_trained = response.headers.get("X-Digital-Source-Type") != _ALGORITHM
        images = (one._replace(engine=engine, is_trained=is_trained) for one in result.images)
        return result._replace(images=tuple(images))


def request_body(request: GenerateRequest, seeds: Sequence[int], init_image: Image | None) -> bytes:
    """Build the request as OctoAI's JSON. An init image is encoded once and copied once."""
    fields = request.model_dump(
        include={"prompt", "cfg_scale", "steps", "width", "height", "image_encoding"}
    )
    fields["num_images"] = len(seeds)
    fields["seed"] = seeds[0] if len(seeds) == 1 else list(seeds)
    if request.negative_prompt is not None:
        fields["negative_prompt"] = request.negative_prompt
    if init_image is not None:
        fields["strength"] = request.strength
    body = pydantic_core.to_json(fields)
    return with_image(body, "init_image", init_image) if init_image else body


def read_response(body: bytearray, seeds: Sequence[int]) -> UpstreamResult:
    """Read one image for each seed from the body of a 200. Images beyond the seeds are ignored.

    An image that is missing or cannot be read has an error, and the others are used. This consumes
    `body`: the last image is decoded first and cut off, so that memory never holds all images and
    all of their base64. Raises UpstreamFailedError for a body that is cut off, and
    UpstreamResponseError when no image can be used.
    """
    response, positions = parse_response(body, _Body)
    images = deque[GeneratedImage]()
    for index, seed in reversed(list(enumerate(seeds))):
        images.appendleft(_image(index, response.images, seed, body, positions))
    errors = [image.error for image in images if image.error]
    if errors and len(errors) == len(images):
        raise UpstreamResponseError(errors[0].message)
    return UpstreamResult(tuple(images), response.prediction_time_ms or 0.0)


def _image(
    index: int, images: Sequence[_Image], seed: int, body: bytearray, positions: Positions
) -> GeneratedImage:
    if index >= len(images):
        return _failed(seed, f"The upstream answered {len(images)} images, not one for each seed.")
    image = images[index]
    seed = seed if image.seed is None else image.seed
    text = image.image_b64
    if image.removed_for_safety or text is None or text == _NULL:
        return GeneratedImage(seed, None, image.safety_score)
    try:
        decoded = read_image_at(text, body, positions, index=index)
    except UpstreamResponseError as error:
        return _failed(seed, error.message)
    return GeneratedImage(seed, decoded, image.safety_score)


def _failed(seed: int, message: str) -> GeneratedImage:
    error = JobError(code=UpstreamResponseError.code, message=message)
    return GeneratedImage(seed, None, error=error)


def _explain(response: ErrorResponse) -> UpstreamError | None:
    if response.status == 400 and _POLICY in response.body:
        return ContentPolicyError("The upstream says that this violates its acceptable use policy.")
    return None
