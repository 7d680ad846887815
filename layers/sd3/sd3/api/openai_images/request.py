"""The bodies of OpenAI's Images API, as they come over HTTP."""

from typing import Final

from pydantic import BaseModel

from sd3.api.multipart import is_form
from sd3.api.openai_images.form import form_values
from sd3.api.request import Request
from sd3.domain.json_body import parse_json
from sd3.domain.openai_images import ImagesRequest, unsupported
from sd3.responses.render import MAX_INLINE_BYTES

_LARGEST: Final = {"png": 3_000_000, "jpeg": 700_000}
"""About the most bytes of an image of 1024 x 1024 pixels, by which base64 is refused in advance."""


class AnyQuery(BaseModel):
    """The query of a route that reads none: clients of OpenAI add `api-version` and others."""


def parse_images_request(request: Request, *, is_edit: bool) -> ImagesRequest:
    """Read the body of a generation or of an edit. Nothing is generated for what it refuses.

    Raises InvalidJsonError, InvalidRequestError, TooLargeError and UnsupportedMediaTypeError.
    """
    as_form = is_edit and is_form(request)
    values = form_values(request) if as_form else parse_json(request.json_body())
    asked = ImagesRequest.from_values(values, max_images=request.limits.max_images, is_edit=is_edit)
    if asked.wanted == "b64_json":
        _check_inline(asked)
    return asked


def _check_inline(asked: ImagesRequest) -> None:
    """Refuse base64 that would not fit a response, before it is paid for."""
    width, height = asked.delivery.scaled or asked.delivery.native
    one = _LARGEST[asked.request.image_encoding] * width * height // (1024 * 1024)
    most = max(MAX_INLINE_BYTES * 3 // 4 // one, 1)
    if asked.request.num_images > most:
        msg = (
            f"a response has room for {most} images of this size as base64 in"
            f" {asked.request.image_encoding}: ask for fewer, or for response_format url"
        )
        raise unsupported("n", msg)
