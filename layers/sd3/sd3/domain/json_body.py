"""The JSON that clients send, read strictly."""

import json

import pydantic_core

from sd3.errors import InvalidJsonError


def parse_json(body: bytes | str) -> object:
    """Read a JSON body. No field may occur twice.

    Parsers differ in which of two fields counts, so a proxy may have checked the other one. Raises
    InvalidJsonError, also for what is nested too deeply and for NaN and Infinity.
    """
    try:
        values = pydantic_core.from_json(body, allow_inf_nan=False)
        written = json.loads(body, object_pairs_hook=len, parse_int=str)
    except (ValueError, TypeError) as error:  # TypeError: a str with lone surrogates
        raise InvalidJsonError(f"The body is not JSON: {error}.") from error
    if isinstance(values, dict) and written != len(values):
        raise InvalidJsonError("The body has a field twice.")
    return values
