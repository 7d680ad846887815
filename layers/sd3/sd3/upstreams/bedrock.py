"""Stable Diffusion 3.5 Large on Amazon Bedrock: InvokeModel, one image a call, base64 in JSON.

The calls use our own HTTP session and botocore's signature. So the deadline, the limit on the size
of a response and the meaning of a lost connection are the same as for every upstream. boto3's model
of the Bedrock client is not loaded.
"""

from collections.abc import Sequence
from typing import Annotated, Final, cast
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
from sd3.http.base64_json import NoneIfInvalid, parse_response, read_image_at, with_image
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpSession
from sd3.settings import Rate
from sd3.upstreams.init_image import InitImagePreparer
from sd3.upstreams.stability_common import reproducible, request_fields, returned_seed

PRICE_MICROS: Final = 80_000
"""The price of an image, as of 2026-11. Other sources say $0.065. The higher price breaks no
budget."""

_FILTERED: Final = "Filter reason"

_INFERENCE: Final = "Inference"

_SUCCESS: Final = "SUCCESS"  # Stability's own word for it

_THROTTLED: Final = frozenset(("ThrottlingException", "ServiceQuotaExceededException"))

_UNAVAILABLE: Final = frozenset(("ServiceUnavailableException", "ModelNotReadyException"))

_FAILED: Final = frozenset(("ModelErrorException", "ModelTimeoutException"))


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    seeds: Annotated[list[object] | None, NoneIfInvalid] = None
    """Bedrock's examples have numbers, and its reference says that they are strings."""
    finish_reasons: Annotated[list[str | None] | None, NoneIfInvalid] = None
    images: list[str | None] | None = None


class BedrockUpstream:
    """A Stability AI model on Amazon Bedrock."""

    name = "bedrock"
    images_per_call = 1
    rate: Rate | None = None  # each account has its own quota
    pause_seconds = 5

    def __init__(
        self,
        *,
        base_url: str,
        key: ApiKey,
        sign: Sign,
        model_id: str,
        region: str,
        url_suffix: str = "amazonaws.com",
        http: HttpSession | None = None,
    ) -> None:
        """Set up the upstream without opening a connection.

        An empty `base_url` is the region's own endpoint, in the domain `url_suffix`. `model_id` is
        the id or the ARN of a model or of an inference profile. `key` reads a Bedrock API key.
        Without a key, calls are signed with the credentials of the function's role. Raises
        ValueError for a base URL that HttpSession does not accept.
        """
        self._http = http or HttpSession(
            base_url or f"https://bedrock-runtime.{region}.{url_suffix}"
        )
        self.model: str | None = model_id
        self._path = f"/model/{quote(model_id, safe='')}/invoke"
        self._key, self._signature = key, _SignatureAuth(sign)
        self._init_images = InitImagePreparer()

    def price(self, _request: GenerateRequest) -> int:
        """Return the price of an image in micro-dollars; it is the same for every size."""
        return PRICE_MICROS

    def unsupported(self, _request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:  # noqa: ARG002 - it supports both
        """Return no errors: Bedrock generates from text and from images, in all sizes."""
        return ()

    def ignored(self, _request: GenerateRequest) -> tuple[str, ...]:
        """Return the fields that Bedrock's schema does not have."""
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
        image = self._init_images.prepare(
            init_image, request.width, request.height, request.init_image_fit
        )
        return with_image(body, "image", image)


class _SignatureAuth(AuthBase):
    """Signs requests with the credentials of the function's role."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        url, body = cast("tuple[str, bytes]", (request.url, request.body))
        signed = {name: request.headers[name] for name in ("Content-Type", "Accept")}
        request.headers.update(self._sign(url, body, signed))
        return request


def _image(body: bytearray, seed: int) -> GeneratedImage:
    response, positions = parse_response(body, _Body)
    seed = returned_seed(response.seeds[0] if response.seeds else None, sent=seed)
    reason = response.finish_reasons[0] if response.finish_reasons else None
    if reason and reason.startswith(_FILTERED):
        return GeneratedImage(seed, None)
    if reason and reason.startswith(_INFERENCE):
        # Bedrock does not document whether that is charged.
        raise UpstreamFailedError("bedrock says that the inference failed.")
    if reason and reason != _SUCCESS:
        raise UpstreamResponseError("bedrock gives a reason that is not known.")
    text = response.images[0] if response.images else None
    if not text:
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
    if response.status == 403:  # Bedrock responds 403 to an unknown API key
        return UpstreamKeyError(message)
    return response.to_error(message)


def _error_name(response: ErrorResponse) -> str:
    """Read the error's name from a header, which may end in a URL, or from the body.

    botocore reads it there too.
    """
    fields = response.fields
    name = response.headers.get("x-amzn-ErrorType") or fields.get("__type") or fields.get("code")
    return str(name or "").partition(":")[0].rpartition("#")[2]
