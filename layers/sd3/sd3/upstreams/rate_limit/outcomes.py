"""What the errors of an upstream's calls say about the upstream: broken, too busy, or nothing."""

from typing import Final

from sd3.errors import (
    RequestError,
    Sd3Error,
    StorageError,
    UnexpectedError,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

MAX_PAUSE_SECONDS: Final = 600
"""The longest pause that an upstream's Retry-After can cause."""


def pause_seconds(error: Sd3Error | None, *, default: float) -> float:
    """Return for how many seconds an error pauses all callers: a 429 is about all of them."""
    if not isinstance(error, UpstreamThrottledError):
        return 0.0
    return min(default if error.retry_after is None else error.retry_after, MAX_PAUSE_SECONDS)


def rest_seconds(error: Sd3Error | None) -> float:
    """Return for how many seconds an error stops its client: a 503 is perhaps about its job."""
    if not isinstance(error, UpstreamUnavailableError) or is_inconclusive(error):
        return 0.0
    return min(error.retry_after or 0.0, MAX_PAUSE_SECONDS)


def is_failure(error: Sd3Error | None) -> bool:
    """Return whether a call shows that the upstream is broken, not busy or rejecting a request."""
    if isinstance(error, UpstreamUnavailableError):
        return not is_inconclusive(error)
    return isinstance(error, UpstreamFailedError | UpstreamTimeoutError | UpstreamResponseError)


def is_inconclusive(error: Sd3Error | None) -> bool:
    """Return whether a call shows nothing about the upstream's health: a 429, an error of ours."""
    ours = UpstreamRateLimitedError | StorageError | RequestError | UnexpectedError
    return isinstance(error, UpstreamThrottledError | ours)
