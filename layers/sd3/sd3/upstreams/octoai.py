"""The OctoAI contract: one call for all pictures, as base64 in JSON."""

import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sd3.contract import MAX_IMAGES, MAX_SEED, GenerateRequest
from sd3.errors import ContentPolicyError, Fault, UpstreamAnswerError, UpstreamError
from sd3.http import HttpSession, Key, Refusal, with_key
from sd3.images import Picture, PictureError, decode_base64, encode_base64, read_picture
from sd3.models import Drawing, DrawnPicture
from sd3.settings import Rate

PATH: Final = "/generate/sd3"
MICROS_PER_STEP: Final = 1_000
"""$0.03 for an image of 30 steps, and in proportion."""
_POLICY: Final = b"Acceptable Use Policy"
_NULL: Final = "null"  # what an old page of OctoAI's documentation has in place of null
_LONG: Final = 1024
_MAX_STRINGS: Final = 1024  # 16 pictures with their keys are some 80

Places = Mapping[str, slice]
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

        Raises ValueError for a base URL that HttpSession does not take.
        """
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
    if init_image is None:
        return body
    encoded = encode_base64(init_image.data).encode("ascii")
    return b"".join((body[:-1], b',"init_image":"', encoded, b'"}'))


def read_answer(body: bytearray, seeds: Sequence[int]) -> Drawing:
    """Read the body of a 200: a picture for each seed; more pictures than seeds are left out.

    `body` is used up: the last picture is decoded first and cut off, so that the pictures and
    their base64 are never held whole side by side. Raises UpstreamAnswerError.
    """
    skeleton, places = split_long_strings(body)
    try:
        answer = _Answer.model_validate_json(skeleton)
    except ValidationError as error:
        raise UpstreamAnswerError(_fault(error)) from None  # its text quotes the answer
    if len(answer.images) < len(seeds):
        raise UpstreamAnswerError(
            f"The upstream answered {len(answer.images)} pictures, not {len(seeds)}."
        )
    pictures = deque[DrawnPicture]()
    for index, seed in reversed(list(enumerate(seeds))):
        pictures.appendleft(_picture(index, answer.images[index], seed, body, places))
    return Drawing(tuple(pictures), answer.prediction_time_ms or 0.0)


def split_long_strings(body: bytearray) -> tuple[bytes, Places]:
    """Cut the long strings out of a JSON text, so that a parser need not copy them.

    Returns the text with a placeholder for each, and by placeholder where in `body` it was.
    A string that is short, or that has escapes, stays where it is. A placeholder cannot be
    forged, being random, and is a string where a string was: the text is JSON if it was before.
    """
    nonce = secrets.token_hex(16)
    pieces: list[bytes | bytearray] = []
    places: dict[str, slice] = {}
    at = 0
    for start, end in _long_strings(body):
        placeholder = f"{nonce}{len(places)}"
        places[placeholder] = slice(start, end)
        pieces += (body[at:start], placeholder.encode())
        at = end
    pieces.append(body[at:])
    return b"".join(pieces), places


def _long_strings(body: bytearray) -> Iterator[tuple[int, int]]:
    """Find where long strings without escapes begin and end, between their quotes.

    In JSON a quote outside of a string begins one, so finding quotes is enough: no byte of a
    picture is looked at by Python.
    """
    end = -1
    for _ in range(_MAX_STRINGS):
        start = body.find(b'"', end + 1) + 1
        end = _closing_quote(body, start) if start else -1
        if end < 0:
            return
        if end - start >= _LONG and body.find(b"\\", start, end) < 0:
            yield start, end


def _closing_quote(body: bytearray, start: int) -> int:
    end = body.find(b'"', start)
    while end > 0 and _is_escaped(body, end):
        end = body.find(b'"', end + 1)
    return end


def _is_escaped(body: bytearray, at: int) -> bool:
    first = at
    while body[first - 1] == ord("\\"):
        first -= 1
    return (at - first) % 2 == 1


def _picture(index: int, image: _Image, seed: int, body: bytearray, places: Places) -> DrawnPicture:
    answered = seed if image.seed is None else image.seed
    text = image.image_b64
    if image.removed_for_safety or text is None or text == _NULL:
        return DrawnPicture(answered, None, image.safety_score)
    try:
        data = _cut_off(body, places[text]) if text in places else decode_base64(text)
        picture = read_picture(data)
    except PictureError as error:
        raise UpstreamAnswerError(f"The upstream's picture {index}: {error}.") from error
    return DrawnPicture(answered, picture, image.safety_score)


def _cut_off(body: bytearray, place: slice) -> bytes:
    """Decode what stands at `place`, and cut `body` off there."""
    with memoryview(body) as whole, whole[place] as text:
        data = decode_base64(text)
    del body[place.start :]
    return data


def _fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if fault["type"] == "json_invalid":
        cut_off = "EOF" in fault["msg"]
        return f"The upstream's answer is {'cut off' if cut_off else 'not JSON'}."
    where = ".".join(map(str, fault["loc"])) or "body"
    return f"The upstream's answer is not as agreed: {where}: {fault['msg']}."


def _explain(refusal: Refusal) -> UpstreamError | None:
    if refusal.status == 400 and _POLICY in refusal.body:
        return ContentPolicyError("The upstream says that this violates its acceptable use policy.")
    return None
