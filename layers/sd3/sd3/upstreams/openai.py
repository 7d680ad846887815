"""Servers of OpenAI's images API: SGLang Diffusion, vLLM-Omni and others; one image a call.

Each server has its own way to generate n images from one seed, and returns no seeds. Only one call
for each seed is reproducible on all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field

from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.request import GenerateRequest
from sd3.errors import ContentPolicyError, FieldError, UpstreamError, UpstreamResponseError
from sd3.http.auth import ApiKey, BearerAuth, no_auth
from sd3.http.base64_json import NoneIfInvalid, is_data_uri, parse_response, read_image_at
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpSession
from sd3.settings import Rate

PATH: Final = "/v1/images/generations"

MAX_GUIDANCE_SCALE: Final = 20.0
"""vLLM-Omni rejects higher values, and no SD3 model needs them."""

_POLICY: Final = frozenset(("content_policy_violation", "moderation_blocked"))


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    b64_json: str | None = None
    url: Annotated[str | None, NoneIfInvalid] = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    data: list[_Image]
    inference_time_s: Annotated[float | None, Field(ge=0, allow_inf_nan=False), NoneIfInvalid] = (
        None
    )
    """Only SGLang has it."""


class OpenaiUpstream:
    """A server of /v1/images/generations, usually self-hosted."""

    name = "openai"
    images_per_call = 1
    rate: Rate | None = None
    pause_seconds = 1  # a self-hosted engine is only busy: it has no rate window

    def __init__(
        self, *, base_url: str, key: ApiKey, model: str, http: HttpSession | None = None
    ) -> None:
        """Set up the upstream without opening a connection.

        With an empty `model` the server chooses the model. Raises ValueError for an empty base
        URL, and for one that HttpSession does not accept.
        """
        if not base_url:
            raise ValueError("openai is a server of one's own: UPSTREAM_URL must say where it is")
        self._http = http or HttpSession(base_url)
        self._key, self.model = key, model or None

    def price(self, _request: GenerateRequest) -> int:
        """Return 0. UPSTREAM_PRICE can set a price for a self-hosted engine."""
        return 0

    def unsupported(self, _request: GenerateRequest, *, has_image: bool) -> Sequence[FieldError]:
        """Return an error for an init image: with SD3 these servers generate from text only."""
        if not has_image:
            return ()
        return (
            FieldError(("body", "init_image"), "not supported by the upstream openai", "upstream"),
        )

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        """Return `cfg_scale` if it is larger than the servers accept."""
        return ("cfg_scale",) if request.cfg_scale > MAX_GUIDANCE_SCALE else ()

    def generate(self, task: GenerationTask) -> UpstreamResult:
        """Generate the image of one seed; see Upstream.generate."""
        (seed,) = task.seeds.values()
        response = self._http.post(
            PATH,
            auth=BearerAuth(self._key, without_key=no_auth),
            headers={"Content-Type": "application/json"},
            body=self._body(task.request, seed),
            deadline=task.deadline,
            explain=_explain,
        )
        return _result(response.body, seed)

    def _body(self, request: GenerateRequest, seed: int) -> bytes:
        fields = {
            "prompt": request.prompt,
            "n": 1,
            "size": f"{request.width}x{request.height}",
            "num_inference_steps": request.steps,
            # Without these two fields, vLLM-Omni turns CFG off and SGLang always uses one seed.
            "guidance_scale": min(request.cfg_scale, MAX_GUIDANCE_SCALE),
            "seed": seed,
            "output_format": request.image_encoding,
            "response_format": "b64_json",
        }
        if request.negative_prompt:
            fields["negative_prompt"] = request.negative_prompt
        if self.model:
            fields["model"] = self.model
        return pydantic_core.to_json(fields)


def _result(body: bytearray, seed: int) -> UpstreamResult:
    response, positions = parse_response(body, _Body)
    one = response.data[0] if response.data else _Image()
    text = one.b64_json
    if not text and one.url and is_data_uri(one.url, body, positions):
        text = one.url
    if not text:
        # An address that an answer names is not followed: it can be any host of this network.
        found = "a url, not an image" if one.url else "no image in b64_json"
        raise UpstreamResponseError(f"openai answered {found}.")
    image = read_image_at(text, body, positions)
    return UpstreamResult((GeneratedImage(seed, image),), (response.inference_time_s or 0.0) * 1000)


def _explain(response: ErrorResponse) -> UpstreamError:
    """Map an error by the code or type of OpenAI's format. FastAPI's format has only a text."""
    error = response.fields.get("error")
    fields = error if isinstance(error, Mapping) else {}
    name = next((fields[key] for key in ("code", "type") if isinstance(fields.get(key), str)), "")
    if response.status == 400 and name in _POLICY:
        return ContentPolicyError("openai says that this violates its content policy.")
    return response.to_error(response.describe("openai", name))
