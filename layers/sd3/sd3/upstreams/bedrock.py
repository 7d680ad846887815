"""Stable Diffusion 3.5 Large on Amazon Bedrock: InvokeModel, one image a call, base64 in JSON.

It is called over our own HTTP, signed by botocore: so its deadline, the bound on its answer and
what a lost connection means are as with every upstream, and its client's model is not loaded.
"""

from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import quote

import pydantic_core
from pydantic import BaseModel, ConfigDict
from requests import PreparedRequest
from requests.auth import AuthBase

from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.image import Image
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    FieldError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
)
from sd3.http.auth import ApiKey, BearerAuth, Sign
from sd3.http.base64_json import parse_response, read_image_at, with_image
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpSession
from sd3.settings import Rate
from sd3.upstreams.resize import Resizer
from sd3.upstreams.stability_common import answered_seed, reproducible, request_fields

PRICE_MICROS: Final = 80_000
"""Of an image, as of 2026-11. Other sources have $0.065: the dearer one breaks no budget."""

_FILTERED: Final = "Filter reason"

_THROTTLED: Final = frozenset(("ThrottlingException", "ServiceQuotaExceededException"))

_UNAVAILABLE: Final = frozenset(("ServiceUnavailableException", "ModelNotReadyException"))

_FAILED: Final = frozenset(("ModelErrorException", "ModelTimeoutException"))


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    seeds: list[int | str] | None = None
    """Numbers in its examples, and texts by what it says of them."""
    finish_reasons: list[str | None] | None = None
    images: list[str | None] | None = None


class BedrockUpstream:
    """A model of Stability's on Amazon Bedrock."""

    name = "bedrock"
    images_per_call = 1
    rate: Rate | None = None  # a quota of each account
    pause_seconds = 5

    def __init__(
        self,
        *,
        base_url: str,
        key: ApiKey,
        sign: Sign,
        model_id: str,
        region: str,
        http: HttpSession | None = None,
    ) -> None:
        """Open no connection yet; an empty `base_url` is the region's own endpoint.

        `model_id` is a model's id, or the ARN of an inference profile or of provisioned
        throughput. A `key` is one of Bedrock's API keys; without one its calls are signed by the
        role that makes them. Raises ValueError for a base URL that HttpSession does not take.
        """
        self._http = http or HttpSession(
            base_url or f"https://bedrock-runtime.{region}.amazonaws.com"
        )
        self._path = f"/model/{quote(model_id, safe='')}/invoke"
        self._key, self._signature = key, _SignatureAuth(sign)
        self._resizer = Resizer()

    def price(self, _request: GenerateRequest) -> int:
        """Price an image in micro-dollars, whatever its size."""
        return PRICE_MICROS

    def unsupported(self, _request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:  # noqa: ARG002 - it generates from both
        """Nothing: it generates from texts and images, in all sizes."""
        return ()

    def ignored(self, _request: GenerateRequest) -> tuple[str, ...]:
        """What its schema does not have."""
        return ("steps", "cfg_scale")

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate the image of one seed; see Upstream.generate."""
        (seed,) = map(reproducible, task.seeds.values())
        response = self._http.post(
            self._path,
            auth=BearerAuth(self._key, without_key=self._signature),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            body=self._body(task.request, seed, task.init_image),
            deadline=task.deadline,
            explain=_explain,
        )
        return UpstreamResult((_image(response.body, seed),), 0.0)

    def _body(self, request: GenerateRequest, seed: int, init_image: Image | None) -> bytes:
        fields = request_fields(request, seed=seed, has_image=init_image is not None)
        body = pydantic_core.to_json(fields)
        if init_image is None:
            return body
        image = self._resizer.resized(init_image, request.width, request.height)
        return with_image(body, "image", image)


class _SignatureAuth(AuthBase):
    """Signs requests by the role of the function."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        url, body = cast("tuple[str, bytes]", (request.url, request.body))
        signed = {name: request.headers[name] for name in ("Content-Type", "Accept")}
        request.headers.update(self._sign(url, body, signed))
        return request


def _image(body: bytearray, seed: int) -> GeneratedImage:
    answer, positions = parse_response(body, _Body)
    seed = answered_seed(answer.seeds[0] if answer.seeds else None, sent=seed)
    reason = answer.finish_reasons[0] if answer.finish_reasons else None
    if reason is not None and reason.startswith(_FILTERED):
        return GeneratedImage(seed, None)
    if reason is not None:
        # "Inference error", of which is not said whether it is charged, or what is not known yet.
        raise UpstreamFailedError("bedrock says that the inference failed.")
    text = answer.images[0] if answer.images else None
    if text is None:
        raise UpstreamResponseError("bedrock answered no image, and no reason why.")
    return GeneratedImage(seed, read_image_at(text, body, positions))


def _explain(response: ErrorResponse) -> UpstreamError:
    name = _error_name(response)
    message = response.describe("bedrock", name)
    if name in _THROTTLED:
        return UpstreamThrottledError(message, retry_after=response.retry_after)
    if name in _UNAVAILABLE:
        return UpstreamUnavailableError(message, retry_after=response.retry_after)
    if name in _FAILED:
        return UpstreamFailedError(message)
    if response.status == 403:  # an API key that is not known is a 403 here
        return UpstreamKeyError(message)
    return response.to_error(message)


def _error_name(response: ErrorResponse) -> str:
    """Read it where botocore does: a header, with or without a URL behind it, or the body."""
    fields = response.fields
    name = response.headers.get("x-amzn-ErrorType") or fields.get("__type") or fields.get("code")
    return str(name or "").partition(":")[0].rpartition("#")[2]
