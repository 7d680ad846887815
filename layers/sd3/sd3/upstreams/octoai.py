"""The OctoAI contract: one call for all pictures, as base64 in JSON."""

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Final

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field

from sd3.domain.generation import Drawing, DrawnPicture
from sd3.domain.image import Picture
from sd3.domain.request import MAX_IMAGES, MAX_SEED, GenerateRequest
from sd3.errors import ContentPolicyError, Fault, UpstreamAnswerError, UpstreamError
from sd3.http.base64_json import Places, read_json, read_picture_at, with_picture
from sd3.http.error_response import Refusal
from sd3.http.session import HttpSession, Key, with_key
from sd3.settings import Rate

PATH: Final = "/generate/sd3"

MICROS_PER_STEP: Final = 1_000
"""$0.03 for an image of 30 steps, and in proportion."""

_POLICY: Final = b"Acceptable Use Policy"

_NULL: Final = "null"  # what an old page of OctoAI's documentation has in place of null

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    image_b64: str | None = None
    removed_for_safety: bool | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    safety_score: _Finite | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    images: list[_Image]
    prediction_time_ms: _Finite | None = None


class OctoaiUpstream:
    """OctoAI's SD3 API, or a server that speaks it."""

    name = "octoai"
    pictures_per_call = MAX_IMAGES
    rate: Rate | None = None
    pause_seconds = 10  # its free tier had 10 calls a minute

    def __init__(self, *, base_url: str, key: Key, http: HttpSession | None = None) -> None:
        """Open no connection yet.

        Raises ValueError for an empty base URL, and for one that HttpSession does not take.
        """
        if not base_url:
            raise ValueError("octoai's own host is closed: UPSTREAM_URL must say where another is")
        self._http = http or HttpSession(base_url)
        self._key = key

    def price(self, request: GenerateRequest) -> int:
        """Price a picture in micro-dollars, whatever its size, also one that is removed."""
        return MICROS_PER_STEP * request.steps

    def faults(self, _request: GenerateRequest, *, has_image: bool) -> Sequence[Fault]:  # noqa: ARG002 - the contract is its own
        """Nothing: the contract is its own."""
        return ()

    def ignored(self, _request: GenerateRequest) -> tuple[str, ...]:
        """Nothing: the contract is its own."""
        return ()

    def draw(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Picture | None,
        deadline: float,
    ) -> Drawing:
        """Draw all pictures in one call; see Upstream.draw."""
        body = request_body(request, seeds, init_image)
        answer = with_key(
            self._key,
            lambda bearer: self._http.post(
                PATH,
                headers={**bearer, "Content-Type": "application/json"},
                body=body,
                deadline=deadline,
                explain=_explain,
            ),
        )
        return read_answer(answer.body, seeds)


def request_body(
    request: GenerateRequest, seeds: Sequence[int], init_image: Picture | None
) -> bytes:
    """Write the request as OctoAI's JSON; an init image is encoded and copied once each."""
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
    return with_picture(body, "init_image", init_image) if init_image else body


def read_answer(body: bytearray, seeds: Sequence[int]) -> Drawing:
    """Read the body of a 200: a picture for each seed; more pictures than seeds are left out.

    `body` is used up: the last picture is decoded first and cut off, so that the pictures and
    their base64 are never held whole side by side. Raises UpstreamAnswerError.
    """
    answer, places = read_json(body, _Answer)
    if len(answer.images) < len(seeds):
        raise UpstreamAnswerError(
            f"The upstream answered {len(answer.images)} pictures, not {len(seeds)}."
        )
    pictures = deque[DrawnPicture]()
    for index, seed in reversed(list(enumerate(seeds))):
        pictures.appendleft(_picture(index, answer.images[index], seed, body, places))
    return Drawing(tuple(pictures), answer.prediction_time_ms or 0.0)


def _picture(index: int, image: _Image, seed: int, body: bytearray, places: Places) -> DrawnPicture:
    answered = seed if image.seed is None else image.seed
    text = image.image_b64
    if image.removed_for_safety or text is None or text == _NULL:
        return DrawnPicture(answered, None, image.safety_score)
    picture = read_picture_at(text, body, places, index=index)
    return DrawnPicture(answered, picture, image.safety_score)


def _explain(refusal: Refusal) -> UpstreamError | None:
    if refusal.status == 400 and _POLICY in refusal.body:
        return ContentPolicyError("The upstream says that this violates its acceptable use policy.")
    return None
