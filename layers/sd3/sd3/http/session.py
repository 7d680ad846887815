"""The session with an upstream: its pool and deadlines, and what a status means."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, ReadTimeoutError
from urllib3.response import HTTPResponse

from sd3.errors import (
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.http.error_response import ErrorResponse
from sd3.http.transport import BareSession, checked_base_url

_MAX_REFUSAL_BYTES: Final = 64 * 1024

_PIECE_BYTES: Final = 1024 * 1024


class HttpResponse(NamedTuple):
    """A 200: its headers (names in any case) and its body."""

    headers: Mapping[str, str]
    body: bytearray


def _unread(_refusal: ErrorResponse) -> None:
    """Leave it to the status what a refusal means."""


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """What one call may take."""

    pool_size: int = 16
    """Connections kept alive: as many as the most images of one request."""
    max_bytes: int = 128 * 1024 * 1024
    """Of an answer; 16 PNGs of 1024x1024 are 32 MB as base64, and noise can be twice that."""
    min_seconds: float = 1.0
    """With less time left nothing is sent: it would be paid and not waited for."""


DEFAULT_HTTP_LIMITS: Final = HttpLimits()


class HttpSession:
    """Paid POSTs to one upstream over kept-alive connections; for any number of threads."""

    def __init__(
        self,
        base_url: str,
        *,
        limits: HttpLimits = DEFAULT_HTTP_LIMITS,
        ca_bundle: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open no connection yet.

        `base_url` is https, or http to a loopback or private address. `ca_bundle` is a path,
        and None is certifi's. Raises ValueError for another base URL.
        """
        self._base_url = checked_base_url(base_url)
        self._limits = limits
        self._clock = clock
        self._session = BareSession(pool_size=limits.pool_size)
        self._session.verify = ca_bundle or True

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def post(
        self,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        explain: Callable[[ErrorResponse], UpstreamError | None] = _unread,
    ) -> HttpResponse:
        """Send `body` once and read the whole answer by `deadline`, in seconds of `clock`.

        `explain` may say what an answer other than a 200 means; None leaves it to the status.
        Raises UpstreamError, by what is known of the outcome.
        """
        _check_headers(headers)
        seconds = deadline - self._clock()
        if seconds < self._limits.min_seconds or seconds <= 0:
            raise UpstreamRateLimitedError("There was no time left to call the upstream.")
        try:
            response = self._session.post(
                self._base_url + path,
                data=body,
                headers=dict(headers),
                timeout=seconds,
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError) as error:
            raise _failure(error) from error
        with response:
            if response.status_code == requests.codes.ok:
                return HttpResponse(response.headers, _read(response.raw, self._limits.max_bytes))
            refusal = ErrorResponse(
                response.status_code, response.headers, _read_refusal(response.raw)
            )
            raise explain(refusal) or refusal.error(refusal.said("The upstream"))


class Key(Protocol):
    """An upstream's key: a secret that is read once, and again when it is not taken."""

    def read(self) -> str:
        """The key, empty where there is none; raises UpstreamKeyError and StorageError."""

    def renew(self, refused: str) -> bool:
        """Read the secret again; whether its key is another than the one that was refused."""


Sign = Callable[[str, bytes, Mapping[str, str]], dict[str, str]]
"""From a URL, a body and headers to the headers of a request that AWS takes."""


def with_key(
    key: Key, post: Callable[[Mapping[str, str]], HttpResponse], *, is_needed: bool = True
) -> HttpResponse:
    """Post with the key as a header, and once more with a new one if it is not taken.

    Keys are rotated. Raises UpstreamKeyError when there is none and the upstream needs one.
    """
    said = key.read()
    if not said and is_needed:
        raise UpstreamKeyError("The upstream's secret has no key for it.")
    try:
        return post(_bearer(said))
    except UpstreamKeyError:
        if not key.renew(said):
            raise
    return post(_bearer(key.read()))


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _check_headers(headers: Mapping[str, str]) -> None:
    """Refuse what cannot be sent: the error of requests would quote it, token and all."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise UpstreamRefusedError(f"The {name} for the upstream cannot be sent as a header.")


def _failure(error: Exception) -> UpstreamError:
    """Say what is known after no answer came: DeadlineAdapter marks what was never sent."""
    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError) and isinstance(reason.reason, ConnectTimeoutError):
        cause = type(reason.reason.__cause__).__name__
        return UpstreamUnavailableError(f"The upstream could not be reached ({cause}).")
    if isinstance(error, requests.Timeout):
        return UpstreamTimeoutError("The upstream did not answer in time.")
    # The server may have read the whole request before the connection was lost.
    return UpstreamFailedError("The connection was lost before the upstream answered.")


def _read(raw: HTTPResponse, max_bytes: int) -> bytearray:
    """Read the body of a 200, into one buffer of its length when that is known."""
    length = raw.length_remaining
    if (length or 0) > max_bytes:
        raise UpstreamResponseError(f"The upstream's answer has more than {max_bytes} bytes.")
    body, at = bytearray(length or 0), 0
    try:
        while piece := raw.read(_PIECE_BYTES, decode_content=True):
            body[at : at + len(piece)] = piece
            at += len(piece)
            if at > max_bytes:
                raise UpstreamResponseError(
                    f"The upstream's answer has more than {max_bytes} bytes."
                )
    except ReadTimeoutError as error:
        raise UpstreamTimeoutError("The upstream's answer did not end in time.") from error
    except HTTPError as error:
        raise UpstreamResponseError("The upstream's answer was cut off.") from error
    del body[at:]
    return body


def _read_refusal(raw: HTTPResponse) -> bytes:
    try:
        return raw.read(_MAX_REFUSAL_BYTES, decode_content=True)
    except HTTPError:
        return b""  # the status was said: that counts
