"""The upstream stability: Stability AI's REST API v2beta, one image file a call."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from urllib3 import encode_multipart_formdata

from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.image import Image, extension, read_image
from sd3.domain.image_formats import InvalidImageError
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    FieldError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamResponseError,
    UpstreamUnchargedError,
)
from sd3.http.auth import ApiKey, BearerAuth
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpResponse, HttpSession
from sd3.settings import Rate
from sd3.upstreams.init_image import InitImagePreparer
from sd3.upstreams.stability_common import reproducible, request_fields, returned_seed

BASE_URL: Final = "https://api.stability.ai"

PATH: Final = "/v2beta/stable-image/generate/sd3"

PRICES: Final = MappingProxyType({
    "sd3.5-large": 65_000,
    "sd3.5-large-turbo": 40_000,
    "sd3.5-medium": 35_000,
    "sd3.5-flash": 25_000,
})  # fmt: skip
"""The price of an image in micro-dollars by model, as of 2026-11. A credit is $0.01."""

_CFG_SCALES: Final = (1.0, 10.0)

_FINAL: Final = MappingProxyType({
    (403, "content_moderation"): "stability's moderation flagged this prompt or image.",
    (422, "public_figure"): "stability sees a public figure in the init image.",
    (422, "invalid_language"): "stability takes prompts in English only.",
})  # fmt: skip


class StabilityUpstream:
    """Stable Diffusion 3.5 on Stability AI's own API."""

    name = "stability"
    images_per_call = 1
    rate: Rate | None = Rate(150, 10)
    pause_seconds = 60  # Stability blocks clients for so long after they exceed the rate

    def __init__(
        self, *, base_url: str, key: ApiKey, model: str, http: HttpSession | None = None
    ) -> None:
        """Set up the upstream without opening a connection.

        An empty `base_url` is Stability's own. Raises ValueError for a model without a price, and
        for a base URL that HttpSession does not accept.
        """
        if model not in PRICES:
            msg = f"STABILITY_MODEL is {model!r}, which is none of {', '.join(PRICES)}"
            raise ValueError(msg)
        self._http = http or HttpSession(base_url or BASE_URL)
        self._key, self._model = key, model
        self.model: str | None = model
        self._init_images = InitImagePreparer()

    def price(self, _request: GenerateRequest) -> int:
        """Return the price of an image in micro-dollars, also if filtered; failures are free."""
        return PRICES[self._model]

    def unsupported(self, _request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:  # noqa: ARG002 - it supports both
        """Return no errors: Stability generates from text and from images, in all sizes."""
        return ()

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        """Return `steps`, which each model fixes, and a `cfg_scale` outside of its range."""
        clamped = _cfg_scale(request) != request.cfg_scale
        return ("steps", "cfg_scale") if clamped else ("steps",)

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate the image of one seed; see Upstream.generate."""
        (seed,) = map(reproducible, task.seeds.values())
        body, content_type = self._form(task.request, seed, task.init_image)
        response = self._http.post(
            PATH,
            auth=BearerAuth(self._key),
            headers={"Content-Type": content_type, "Accept": "image/*"},
            body=body,
            deadline=task.deadline,
            explain=_explain,
        )
        return UpstreamResult((_image(response, seed),), 0.0)

    def _form(
        self, request: GenerateRequest, seed: int, init_image: Image | None
    ) -> tuple[bytes, str]:
        fields = request_fields(request, seed=seed, has_image=init_image is not None)
        fields |= {"model": self._model, "cfg_scale": _cfg_scale(request)}
        form: dict[str, str | tuple[str, bytes, str]] = {
            name: str(value) for name, value in fields.items()
        }
        if init_image:
            init_image = self._init_images.prepare(
                init_image, request.width, request.height, request.init_image_fit
            )
            file = f"image.{extension(init_image.content_type)}"
            form["image"] = (file, init_image.data, init_image.content_type)
        return encode_multipart_formdata(form)


def _cfg_scale(request: GenerateRequest) -> float:
    least, most = _CFG_SCALES
    return min(max(request.cfg_scale, least), most)


def _image(response: HttpResponse, seed: int) -> GeneratedImage:
    seed = returned_seed(response.headers.get("seed"), sent=seed)
    if response.headers.get("finish-reason", "SUCCESS").upper() != "SUCCESS":
        return GeneratedImage(seed, None)  # the returned image is blurred
    try:
        return GeneratedImage(seed, read_image(bytes(response.body)))
    except InvalidImageError as error:
        # Without a length, a body that is cut off looks like a whole one.
        is_whole = {"content-length", "transfer-encoding"} & {*map(str.lower, response.headers)}
        kind = UpstreamResponseError if is_whole else UpstreamFailedError
        raise kind(f"stability's image: {error}.") from error


def _explain(response: ErrorResponse) -> UpstreamError:
    name = response.fields.get("name")
    if (response.status, str(name)) in _FINAL:
        return ContentPolicyError(_FINAL[response.status, str(name)])
    message = response.describe("stability", name)
    if response.status == 500 and name:
        # A named error comes from Stability itself, not from a gateway: it is not charged.
        return UpstreamUnchargedError(message)
    return response.to_error(message)
