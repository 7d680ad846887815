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
        """Seconds until it is worth asking again, if it says so."""
        return _retry_after(self.headers)

    @property
    def fields(self) -> Mapping[str, object]:
        """The fields of a body that is a JSON object; of any other there are none."""
        try:
            value = pydantic_core.from_json(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def said(self, upstream: str, name: object = None) -> str:
        """Tell who answered what. The error's name is kept if it can be nothing but a name."""
        shown = f" {name}" if isinstance(name, str) and _NAME.fullmatch(name) else ""
        return f"{upstream} answered {self.status}{shown}."

    def error(self, said: str) -> UpstreamError:
        """What the status means where nothing more is known, as an error that tells `said`."""
        if self.status == 429:
            return UpstreamThrottledError(said, retry_after=self.retry_after)
        if self.status == 503:
            return UpstreamUnavailableError(said, retry_after=self.retry_after)
        if self.status == 401:
            return UpstreamKeyError(said)
        if self.status >= 500 or self.status == 408:
            # A gateway's 502 or 504 says nothing of the engine behind it, which may generate on.
            return UpstreamFailedError(said)
        return UpstreamResponseError(said) if self.status < 300 else UpstreamRefusedError(said)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read seconds or an HTTP date, the latter by the clock of the answer's own Date."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text[:1].isdigit() else _seconds_between(headers["Date"], text)
    except (ValueError, KeyError, TypeError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _seconds_between(earlier: str, later: str) -> float:
    return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
