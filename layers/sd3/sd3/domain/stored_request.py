"""The requests of stored jobs, of which other versions of the service may have accepted some."""

from collections.abc import Callable
from typing import Annotated

from pydantic import ValidationError, WrapValidator

from sd3.domain.request import GenerateRequest


def _read(values: object, read: Callable[[object], GenerateRequest]) -> GenerateRequest:
    """Read a stored request with `read`, or else without a check: other versions accept others."""
    try:
        return read(values)
    except ValidationError:
        if not isinstance(values, dict) or not isinstance(values.get("prompt"), str):
            raise
        return GenerateRequest.model_construct(**values)


StoredRequest = Annotated[GenerateRequest, WrapValidator(_read)]


def is_known(request: GenerateRequest) -> bool:
    """Return whether this version accepts the values of a stored request."""
    fields = {name: value for name, value in request if name != "init_image"}
    try:
        GenerateRequest.model_validate(fields)
    except ValidationError:
        return False
    return True
