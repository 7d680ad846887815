"""The body of POST /verify: one image, as base64 in JSON or as a file in a form."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from sd3.api.multipart import form_parts, is_form
from sd3.api.request import Request, checked
from sd3.domain.image import check_length, decode_image_text
from sd3.domain.image_formats import InvalidImageError
from sd3.errors import FieldError, InvalidRequestError


def _decode(value: object) -> bytes:
    """Decode the base64 of JSON, and pass on the bytes of a form."""
    try:
        if isinstance(value, str):
            return decode_image_text(value)
        if isinstance(value, bytes):
            check_length(value)
            return value
    except InvalidImageError as error:
        raise PydanticCustomError("picture", "{reason}", {"reason": str(error)}) from error
    raise PydanticCustomError("string_type", "Input should be a string of base64")


class VerifyRequest(BaseModel):
    """POST /verify: the image to look at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Annotated[
        bytes,
        PlainValidator(_decode),
        WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
    ] = Field(
        repr=False,
        description="Base64 of a PNG, JPEG or WebP, plain or as a data: URI; 4.5 MB at most.",
    )


def image_of(request: Request) -> bytes:
    """Read the image of a request. Raises what json_body and form_parts do."""
    if not is_form(request):
        return request.body(VerifyRequest).image
    parts = form_parts(request)
    if len(parts) != len(dict(parts)):
        msg = "a field is there twice"
        raise InvalidRequestError([FieldError(("body",), msg, "repeated")])
    return checked(VerifyRequest, dict(parts), "body").image
