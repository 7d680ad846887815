"""The JSON that clients send, read strictly."""

import json

import pydantic_core

from sd3.errors import InvalidJsonError


def parse_json(body: bytes | str, *, what: str = "body", deep: bool = False) -> object:
    """Read a JSON body in UTF-8, with a byte order mark or without. No field may occur twice.

    `deep` says so of the objects inside it too. Messages call the body `what`.

    Parsers differ in which of two fields counts, so a proxy may have checked the other one. Raises
    InvalidJsonError, also for what is nested too deeply and for NaN and Infinity.
    """
    text = _text(body, what)
    try:
        values = pydantic_core.from_json(text, allow_inf_nan=False)
        written = json.loads(text, object_pairs_hook=_length if deep else len, parse_int=str)
    except (ValueError, TypeError) as error:  # TypeError: a str with lone surrogates
        raise InvalidJsonError(f"The {what} is not JSON: {error}.") from error
    if isinstance(values, dict) and written != len(values):
        raise InvalidJsonError(f"The {what} has a field twice.")
    return values


def _length(pairs: list[tuple[str, object]]) -> int:
    if len(dict(pairs)) < len(pairs):
        raise InvalidJsonError("An object has a field twice.")
    return len(pairs)


def _text(body: bytes | str, what: str) -> str:
    """Decode a body, and remove its byte order mark. Raises InvalidJsonError for other charsets.

    A gateway that decodes it replaces what is not UTF-8, and JSON begins with no such character.
    UTF-16 and UTF-32 have a zero byte among the first four.
    """
    try:
        text = (body if isinstance(body, str) else body.decode()).removeprefix("\ufeff")
    except UnicodeDecodeError:
        text = "\ufffd"
    if text.startswith("\ufffd") or "\0" in text[:4]:
        raise InvalidJsonError(f"The {what} is not JSON: it is not in UTF-8.")
    return text
