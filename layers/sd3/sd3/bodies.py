"""The JSON that clients send."""

import json

import pydantic_core

from sd3.errors import InvalidJsonError


def read_json(body: bytes | str) -> object:
    """Read a body, of which no field is there twice: parsers differ in which one counts.

    Whoever checked the request on its way here may have checked the other one. Raises
    InvalidJsonError, also for what is nested too deeply and for NaN and Infinity.
    """
    try:
        values = pydantic_core.from_json(body, allow_inf_nan=False)
        written = json.loads(body, object_pairs_hook=len, parse_int=str)
    except (ValueError, TypeError) as error:  # TypeError: a str that has no UTF-8
        raise InvalidJsonError(f"The body is not JSON: {error}.") from error
    if isinstance(values, dict) and written != len(values):
        raise InvalidJsonError("The body has a field twice.")
    return values
