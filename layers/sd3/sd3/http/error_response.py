"""Error responses of upstreams, and their translation to errors by status and error name."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import pydantic_core

from sd3.errors import (
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
)

_MAX_RETRY_AFTER: Final = 86_400.0

_SAME_AGAIN: Final = frozenset((501, 505))
"""The 5xx that reject the call itself: not implemented, and another version of HTTP."""

_MAY_PASS: Final = frozenset((408, 425))
"""The 4xx that are not about the call itself: it took too long, or came too early."""

_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""The form of an error's name. Neither a sentence nor a quotation matches it."""


class ErrorResponse(NamedTuple):
    """A response other than a 200: headers (names in any case) and the first 64 KiB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Return the seconds until the next try, or None if the response does not say."""
        return _retry_after(self.headers)

    @property
    def fields(self) -> Mapping[str, object]:
        """Return the fields of a body that is a JSON object, and no fields for any other body."""
        try:
            value = pydantic_core.from_json(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def describe(self, upstream: str, name: object = None) -> str:
        """Describe the response by upstream and status, and by `name` if it has the form of one."""
        shown = f" {name}" if isinstance(name, str) and _NAME.fullmatch(name) else ""
        return f"{upstream} answered {self.status}{shown}."

    def to_error(self, message: str) -> UpstreamError:
        """Return an error with `message` by the status alone."""
        if self.status == 429:
            return UpstreamThrottledError(message, retry_after=self.retry_after)
        if self.status == 503:
            return UpstreamUnavailableError(message, retry_after=self.retry_after)
        if self.status == 401:
            return UpstreamKeyError(message)
        if (self.status >= 500 or self.status in _MAY_PASS) and self.status not in _SAME_AGAIN:
            # After a gateway's 502 or 504, the engine behind the gateway may still be generating.
            return UpstreamFailedError(message)
        if self.status < 300:
            return UpstreamResponseError(message)
        return UpstreamRefusedError(message)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After as seconds or as an HTTP date, relative to the response's own Date."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _MAX_RETRY_AFTER)
    try:
        seconds = _seconds_between(headers["Date"], text)
    except (ValueError, KeyError, TypeError, OverflowError):  # a year or an offset of many digits
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _seconds_between(earlier: str, later: str) -> float:
    return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
