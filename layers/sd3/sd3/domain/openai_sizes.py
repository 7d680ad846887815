"""The sizes of OpenAI's API, and what this service delivers for them."""

import re
from math import log
from typing import Final, NamedTuple

from sd3.domain.request_checks import SIZES
from sd3.errors import FieldError, InvalidRequestError

Size = tuple[int, int]

_SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_MIN_SIDE: Final = 64
_MAX_SIDE: Final = 3840
_MAX_PIXELS: Final = 3840 * 2160
_MAX_RATIO: Final = 3
_DEFAULT: Final = (1024, 1024)


class Delivery(NamedTuple):
    """What an image is generated as, and the size that it is scaled to, if any."""

    native: Size
    scaled: Size | None = None
    is_as_asked: bool = True


def delivery_of(size: object) -> Delivery:
    """Choose for a `size` of OpenAI's: the shape next to it, and its own size if that is smaller.

    Raises InvalidRequestError for what is no size, and for a size that OpenAI has not either.
    """
    if size is None or size == "auto":
        return Delivery(_DEFAULT)
    asked = _parsed(size)
    native = min(SIZES, key=lambda one: abs(log(one[0] / one[1]) - log(asked[0] / asked[1])))
    if asked == native:
        return Delivery(native)
    if asked[0] <= native[0] and asked[1] <= native[1]:
        return Delivery(native, asked)
    return Delivery(native, is_as_asked=False)


def _parsed(size: object) -> Size:
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is None:
        raise _wrong("should be auto or WIDTHxHEIGHT, as 1024x1024")
    width, height = int(found[1]), int(found[2])
    if min(width, height) < _MIN_SIDE or max(width, height) > _MAX_SIDE:
        raise _wrong(f"both sides should have {_MIN_SIDE} to {_MAX_SIDE} pixels")
    if width * height > _MAX_PIXELS or max(width, height) > _MAX_RATIO * min(width, height):
        raise _wrong("should be at most 3840x2160 pixels, between 1:3 and 3:1")
    return width, height


def _wrong(msg: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(("body", "size"), msg, "invalid_value")])
