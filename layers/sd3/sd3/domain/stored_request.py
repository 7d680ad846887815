"""The requests of stored jobs, of which other versions of the service may have accepted some."""

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, ValidationError, WrapValidator

from sd3.domain.request import GenerateRequest


class _Used(BaseModel):
    """What every reader of a job uses of its request, whatever the request is."""

    model_config = ConfigDict(extra="allow", strict=True)

    prompt: str
    num_images: int = 1
    metadata: dict[str, str] = {}


def _read(values: object, read: Callable[[object], GenerateRequest]) -> GenerateRequest:
    """Read a stored request with `read`, or else unchecked: other versions accept other values.

    Raises ValidationError for one that no response or event could be made of.
    """
    try:
        return read(values)
    except ValidationError:
        used = _Used.model_validate(values)
        return GenerateRequest.model_construct(**used.model_dump(exclude_unset=True))


StoredRequest = Annotated[GenerateRequest, WrapValidator(_read)]


def is_known(request: GenerateRequest) -> bool:
    """Return whether this version accepts the values of a stored request, and knows all its fields.

    A field of a later version that is null, false or empty asks for nothing.
    """
    if any((request.model_extra or {}).values()):
        return False
    fields = {name: value for name, value in request if name != "init_image"}
    try:
        GenerateRequest.model_validate(fields)
    except ValidationError:
        return False
    return True
