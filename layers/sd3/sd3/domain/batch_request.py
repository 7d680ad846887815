"""What clients send to make a batch, checked."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Self

import pydantic_core
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from sd3.domain.json_body import parse_json
from sd3.domain.request import Metadata
from sd3.domain.request_checks import body_error
from sd3.errors import FieldError, InvalidRequestError

MAX_REQUESTS: Final = 100


def _few(value: object) -> object:
    """Refuse a list that is too long with one error, before each of its items has one."""
    if isinstance(value, list) and len(value) > MAX_REQUESTS:
        raise PydanticCustomError(
            "too_long", "List should have at most {most} items", {"most": MAX_REQUESTS}
        )
    return value


class BatchRequest(BaseModel):
    """POST /batches: the lines themselves, or the upload that has them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    requests: (
        Annotated[
            list[dict[str, Any]],
            Field(min_length=1, max_length=MAX_REQUESTS),
            BeforeValidator(_few),
        ]
        | None
    ) = Field(
        default=None,
        repr=False,
        description="The lines: each is a request of POST /generate/sd3 with a custom_id of 1 to"
        " 256 characters, or a line of OpenAI's Batch API. More lines are sent as a file.",
    )
    upload_id: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{32}$",
        description="The id of a JSONL file of up to 10,000 lines, in place of requests: POST"
        " /uploads returns it with a form for a file of up to 50 MB.",
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Up to 16 pairs of strings, echoed."
    )

    @classmethod
    def parse(cls, body: bytes | str) -> Self:
        """Read the JSON body. What is wrong with a line by itself is an error of that line, later.

        Raises InvalidJsonError, or InvalidRequestError with every wrong field at once.
        """
        values = parse_json(body, deep=True)
        if not isinstance(values, dict):
            raise InvalidRequestError([body_error((), "Input should be an object", "dict_type")])
        try:
            request = cls.model_validate(values)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidRequestError(
                [body_error(one["loc"], one["msg"], one["type"]) for one in errors]
            ) from error
        if errors_between := list(_errors_between_fields(request)):
            raise InvalidRequestError(errors_between)
        return request

    def to_jsonl(self) -> bytes:
        """Write the lines of `requests` as a file has them."""
        return b"".join(pydantic_core.to_json(one) + b"\n" for one in self.requests or ())


def _errors_between_fields(request: BatchRequest) -> Iterator[FieldError]:
    if request.requests is None and request.upload_id is None:
        yield body_error(("requests",), "is missing, and so is upload_id", "missing")
    if request.requests is not None and request.upload_id is not None:
        yield body_error(("upload_id",), "not together with requests", "upload_id")
    places: dict[str, int] = {}
    for place, one in enumerate(request.requests or ()):
        custom_id = one.get("custom_id")
        if isinstance(custom_id, str) and places.setdefault(custom_id, place) != place:
            msg = f"is that of requests.{places[custom_id]} too"
            yield body_error(("requests", place, "custom_id"), msg, "repeated")
