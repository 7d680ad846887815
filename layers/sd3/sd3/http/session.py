"""The HTTP session with an upstream. It sends each paid POST once, within a deadline."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    MaxRetryError,
    ReadTimeoutError,
)
from urllib3.response import HTTPResponse

from sd3.errors import (
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRateLimitedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.http.address import checked_base_url
from sd3.http.auth import BearerAuth
from sd3.http.error_response import ErrorResponse
from sd3.http.transport import BareSession

_MAX_ERROR_BYTES: Final = 64 * 1024

_PIECE_BYTES: Final = 1024 * 1024


class HttpResponse(NamedTuple):
    """A response with status 200: its headers (names in any case) and its body."""

    headers: Mapping[str, str]
    body: bytearray


def _by_status(_response: ErrorResponse) -> None:
    """Return None, which leaves the meaning of an error response to its status."""


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """The limits of a session and its calls."""

    pool_size: int = 16
    """The number of kept-alive connections: one for each image of the largest request."""
    max_bytes: int = 128 * 1024 * 1024
    """The largest response. 16 PNGs of 1024x1024 are 32 MB as base64; noise can be twice that."""
    min_seconds: float = 1.0
    """The least time for a call. With less, nothing is sent: it would be paid and come too late."""


DEFAULT_HTTP_LIMITS: Final = HttpLimits()


class HttpSession:
    """A session of paid POSTs to one upstream over kept-alive connections. It is thread-safe."""

    def __init__(
        self,
        base_url: str,
        *,
        limits: HttpLimits = DEFAULT_HTTP_LIMITS,
        ca_bundle: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the session without opening a connection.

        `base_url` is https, or http to a loopback or private address. `ca_bundle` is a path, and
        None means certifi's bundle. Raises ValueError for any other base URL.
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
        auth: BearerAuth,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        explain: Callable[[ErrorResponse], UpstreamError | None] = _by_status,
    ) -> HttpResponse:
        """Send `body` and read the whole response by `deadline`, in seconds of `clock`.

        It is sent once, and again only if the upstream rejected a key that was rotated meanwhile.
        `explain` can translate an error response. If it returns None, the status does. Raises
        the UpstreamError that fits what is known about the outcome, and the errors of `auth`.
        """
        request = requests.Request(
            "POST", self._base_url + path, headers=dict(headers), data=body, auth=auth
        )
        try:
            return self._send(request, deadline, explain)
        except UpstreamKeyError:
            if not auth.renew():
                raise
        return self._send(request, deadline, explain)

    def _send(
        self,
        request: requests.Request,
        deadline: float,
        explain: Callable[[ErrorResponse], UpstreamError | None],
    ) -> HttpResponse:
        prepared = self._session.prepare_request(request)  # reads the key, which takes time
        seconds = deadline - self._clock()
        if seconds < self._limits.min_seconds or seconds <= 0:
            raise UpstreamRateLimitedError("There was no time left to call the upstream.")
        try:
            response = self._session.send(
                prepared, timeout=seconds, stream=True, allow_redirects=False
            )
        except (requests.RequestException, HTTPError) as error:
            raise _failure(error) from error
        with response:
            if response.status_code == requests.codes.ok:
                return HttpResponse(response.headers, _read(response.raw, self._limits.max_bytes))
            failed = ErrorResponse(
                response.status_code, response.headers, _read_error(response.raw)
            )
            raise explain(failed) or failed.to_error(failed.describe("The upstream"))


def _failure(error: Exception) -> UpstreamError:
    """Return the error of a call without a response. A failed connection has sent nothing."""
    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError) and isinstance(reason.reason, ConnectTimeoutError):
        cause = type(reason.reason.__cause__).__name__
        return UpstreamUnavailableError(f"The upstream could not be reached ({cause}).")
    if isinstance(error, requests.Timeout):
        return UpstreamTimeoutError("The upstream did not answer in time.")
    # The server may have read the whole request before the connection was lost.
    return UpstreamFailedError("The connection was lost before the upstream answered.")


def _read(raw: HTTPResponse, max_bytes: int) -> bytearray:
    """Read the body of a 200 into one buffer, which has the body's length if that is known."""
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
    except DecodeError as error:
        raise UpstreamResponseError("The upstream's answer is not in its encoding.") from error
    except HTTPError as error:
        raise UpstreamFailedError("The upstream's answer was cut off.") from error
    del body[at:]
    return body


def _read_error(raw: HTTPResponse) -> bytes:
    try:
        return raw.read(_MAX_ERROR_BYTES, decode_content=True)
    except HTTPError:
        return b""  # the status is enough
