"""What an upstream means by an answer other than a 200: its status, and the name of its error."""

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

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""What can be the name of an error, and neither a sentence nor a quotation."""


class ErrorResponse(NamedTuple):
    """An answer other than a 200: headers (names in any case), and the body's first 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Return after how many seconds to ask again, if the answer says so."""
        return _retry_after(self.headers)

    @property
    def fields(self) -> Mapping[str, object]:
        """Return the fields of a body that is a JSON object, and none of any other."""
        try:
            value = pydantic_core.from_json(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def describe(self, upstream: str, name: object = None) -> str:
        """Say who answered what, with the error's name if it can be nothing but a name."""
        shown = f" {name}" if isinstance(name, str) and _NAME.fullmatch(name) else ""
        return f"{upstream} answered {self.status}{shown}."

    def to_error(self, message: str) -> UpstreamError:
        """Return what the status means where nothing more is known, as an error with `message`."""
        if self.status == 429:
            return UpstreamThrottledError(message, retry_after=self.retry_after)
        if self.status == 503:
            return UpstreamUnavailableError(message, retry_after=self.retry_after)
        if self.status == 401:
            return UpstreamKeyError(message)
        if self.status >= 500 or self.status == 408:
            # A gateway's 502 or 504 says nothing of the engine behind it, which may generate on.
            return UpstreamFailedError(message)
        if self.status < 300:
            return UpstreamResponseError(message)
        return UpstreamRefusedError(message)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read seconds or an HTTP date; a date is compared with the answer's own Date."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text[:1].isdigit() else _seconds_between(headers["Date"], text)
    except (ValueError, KeyError, TypeError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _seconds_between(earlier: str, later: str) -> float:
    return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
