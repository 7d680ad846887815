"""Requests of OpenAI's Images API, translated to the service's own."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from sd3.domain.openai_sizes import Delivery, delivery_of
from sd3.domain.request import MAX_FIELDS, GenerateRequest
from sd3.errors import FieldError, InvalidRequestError

MODEL: Final = "sd3"
"""The one model of GET /models. Requests may name any: clients have lists of OpenAI's."""

_OURS: Final = {
    "prompt": "prompt",
    "n": "num_images",
    "output_format": "image_encoding",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "num_inference_steps": "steps",
    "cfg_scale": "cfg_scale",
    "guidance_scale": "cfg_scale",
    "strength": "strength",
}
"""The fields that are followed, and their names here. Those after the first three are extras of
servers for Stable Diffusion, this service's own upstream `openai` among them."""

_READ: Final = frozenset((*_OURS, "size", "response_format", "stream", "image", "images"))

_WITHOUT_EFFECT: Final[Mapping[str, frozenset[object]]] = {
    "model": frozenset((MODEL,)),
    "quality": frozenset(("auto", "standard")),
    "background": frozenset(("auto", "opaque")),
    "moderation": frozenset(("auto",)),
    "partial_images": frozenset((0, "0")),
}
"""Fields that are not followed, with the values that ask for what happens anyway."""

_FORMATS: Final = ("jpeg", "png")

OPENAI_NAMES: Final = {
    "num_images": "n",
    "image_encoding": "output_format",
    "width": "size",
    "height": "size",
    "init_image": "image",
    "init_image_id": "image",
    "init_image_url": "image",
}
"""Fields of the service's own request by the names that they have in OpenAI's API."""


class ImagesRequest(NamedTuple):
    """A request as the service knows it, and how its client wants the answer."""

    request: GenerateRequest
    delivery: Delivery
    ignored: tuple[str, ...]
    wanted: str | None
    """`url`, `b64_json`, or None for both."""
    is_streamed: bool
    is_edit: bool

    @classmethod
    def from_values(cls, values: object, *, max_images: int | None, is_edit: bool) -> Self:
        """Translate a body that has been read from JSON or from a form. Null counts as not given.

        Raises InvalidRequestError. OPENAI_NAMES translates the names of its fields back.
        """
        if not isinstance(values, dict) or len(values) > MAX_FIELDS:
            msg = f"the body should be an object of at most {MAX_FIELDS} fields"
            raise InvalidRequestError([FieldError(("body",), msg, "dict_type")])
        given = {name: value for name, value in values.items() if value is not None}
        _refuse(given)
        delivery = delivery_of(given.get("size"))
        is_streamed = _one_of(given, "stream", (False, True))
        wanted = _one_of(given, "response_format", (None, "url", "b64_json"))
        if is_streamed:  # an event has base64
            wanted = "b64_json"
        own = _own_values(given, delivery) | {"response_format": wanted or "b64_json"}
        if is_edit:
            own["init_image"] = _init_image(given)
        request = GenerateRequest.from_values(own, max_images=max_images)
        ignored = _ignored(given, delivery, is_edit=is_edit)
        return cls(request, delivery, ignored, wanted, is_streamed, is_edit)


def _own_values(given: Mapping[str, Any], delivery: Delivery) -> dict[str, Any]:
    width, height = delivery.native
    followed = {_OURS[name]: value for name, value in given.items() if name in _OURS}
    return {"width": width, "height": height} | followed


def _refuse(given: Mapping[str, Any]) -> None:
    """Refuse what would be another image than the one that is asked for."""
    if given.get("background") == "transparent":
        raise unsupported("background", "transparent is not supported: use opaque or auto")
    if "mask" in given:
        raise unsupported("mask", "masks are not supported: the whole image is edited")
    if not isinstance(given.get("model", MODEL), str):
        raise InvalidRequestError([FieldError(("body", "model"), "should be text", "string_type")])
    if given.get("output_format", _FORMATS[0]) not in _FORMATS:
        raise unsupported("output_format", "should be jpeg or png")


def _one_of(given: Mapping[str, Any], name: str, values: tuple[Any, ...]) -> Any:
    """Return a field that is one of these values, of which the first is the default."""
    value = given.get(name, values[0])
    if any(value is one or (isinstance(one, str) and value == one) for one in values):
        return value
    named = " or ".join(str(one).lower() for one in values if one is not None)
    raise InvalidRequestError([FieldError(("body", name), f"should be {named}", "invalid_value")])


def _init_image(given: Mapping[str, Any]) -> object:
    """Find the one image of an edit: base64, or a data: URI, which GenerateRequest decodes."""
    name = "images" if "images" in given else "image"
    found = given.get(name)
    images = found if isinstance(found, list) else [] if found is None else [found]
    if not images:
        raise InvalidRequestError(
            [FieldError(("body", "image"), "the image is missing", "missing")]
        )
    if len(images) > 1:
        raise unsupported(name, f"one image can be edited at a time, and here are {len(images)}")
    image = images[0]
    text = image.get("image_url") if isinstance(image, dict) else image
    if isinstance(text, dict):
        text = text.get("url")
    if not isinstance(text, str):
        raise unsupported(name, "should have the image itself, as a data: URI in image_url")
    if text[:8].lower().startswith(("http:", "https:")):
        raise unsupported(name, "addresses are not fetched: send the image as a data: URI")
    return text


def _ignored(given: Mapping[str, Any], delivery: Delivery, *, is_edit: bool) -> tuple[str, ...]:
    """Name the fields that are given and not followed."""
    names = [] if delivery.is_as_asked else ["size"]
    for name, value in given.items():
        is_known = name in _READ and (is_edit or name not in {"image", "images", "strength"})
        usual = _WITHOUT_EFFECT.get(name, frozenset())
        if not is_known and not (isinstance(value, str | int) and value in usual):
            names.append(name[:64])
    return tuple(names)


def unsupported(name: str, msg: str) -> InvalidRequestError:
    """Make the error for what OpenAI's API has and this service has not."""
    return InvalidRequestError([FieldError(("body", name), msg, "unsupported_value")])
