"""The session with an upstream: its pool, deadlines, retries, and what a status means."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final, NamedTuple

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, ReadTimeoutError
from urllib3.response import HTTPResponse

from sd3.connections import DeadlineAdapter, checked_base_url
from sd3.errors import (
    UpstreamAnswerError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

_BACKOFF_SECONDS: Final = 1.0
_MAX_RETRY_AFTER: Final = 86_400.0
_MAX_REFUSAL_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 1024 * 1024


class Answer(NamedTuple):
    """A 200: its headers (names in any case) and its body."""

    headers: Mapping[str, str]
    body: bytearray


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may take."""

    pool_size: int = 16
    """Connections kept alive: as many as the most pictures of one request."""
    max_bytes: int = 128 * 1024 * 1024
    """Of an answer; 16 PNGs of 1024x1024 are 32 MB as base64, and noise can be twice that."""
    tries: int = 3
    min_seconds: float = 1.0
    """With less time left nothing is sent: it would be paid and not waited for."""


DEFAULT_LIMITS: Final = Limits()


class HttpSession:
    """Paid POSTs to one upstream over kept-alive connections; for any number of threads."""

    def __init__(
        self,
        base_url: str,
        *,
        limits: Limits = DEFAULT_LIMITS,
        ca_bundle: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open no connection yet.

        `base_url` is https, or http to a loopback or private address. `ca_bundle` is a path,
        and None is certifi's. `jitter` draws a number in 0..1.
        Raises ValueError for another base URL.
        """
        self._base_url = checked_base_url(base_url)
        self._limits = limits
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._session = _Session()
        self._session.verify = ca_bundle or True
        adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=limits.pool_size)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

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
        refusal: Callable[[int, bytes], UpstreamError | None] = lambda _status, _body: None,
    ) -> Answer:
        """Send `body` and read the whole answer by `deadline`, in seconds of `clock`.

        It is sent again only when it cannot have been paid: 429, 503, no connection.
        `refusal` may say what a status other than 200 means, from it and the body's first 64 KiB.
        Raises UpstreamError, by what is known of the outcome.
        """
        _check_headers(headers)
        failed = 0
        while True:
            left = deadline - self._clock()
            if left < self._limits.min_seconds or left <= 0:
                raise UpstreamUnavailableError("There was no time left to call the upstream.")
            try:
                return self._post_once(
                    path, headers=headers, body=body, seconds=left, refusal=refusal
                )
            except UpstreamUnavailableError as error:
                failed += 1
                wait = self._wait(error.retry_after, failed)
                fits = self._clock() + wait + self._limits.min_seconds < deadline
                if failed == self._limits.tries or not fits:
                    raise
            self._sleep(wait)

    def _wait(self, retry_after: float | None, failed: int) -> float:
        """Exponential backoff with full jitter, on top of what the upstream asked for."""
        return (retry_after or 0.0) + self._jitter() * _BACKOFF_SECONDS * 2.0 ** (failed - 1)

    def _post_once(
        self,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        refusal: Callable[[int, bytes], UpstreamError | None],
    ) -> Answer:
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
                return Answer(response.headers, _read(response.raw, self._limits.max_bytes))
            status, said = response.status_code, _read_refusal(response.raw)
            raise refusal(status, said) or _error(status, _retry_after(response.headers))


class _Session(requests.Session):
    """A session that takes nothing from the environment, keeps no cookie, follows no redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": "sd3-image-service", "Accept-Encoding": "identity"})

    def get_redirect_target(self, _resp: requests.Response) -> None:
        """Say that there is none, or requests reads a redirect's body, however long, to its end."""


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


def _error(status: int, retry_after: float | None) -> UpstreamError:
    said = f"The upstream answered {status}."
    if status in {429, 503}:
        return UpstreamUnavailableError(said, retry_after=retry_after)
    if status >= 500 or status == 408:
        # A gateway's 502 or 504 says nothing of the engine behind it, which may draw on.
        return UpstreamFailedError(said)
    return UpstreamAnswerError(said) if status < 300 else UpstreamRefusedError(said)


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


def _read(raw: HTTPResponse, max_bytes: int) -> bytearray:
    """Read the body of a 200, into one buffer of its length when that is known."""
    length = raw.length_remaining
    if (length or 0) > max_bytes:
        raise UpstreamAnswerError(f"The upstream's answer has more than {max_bytes} bytes.")
    body, at = bytearray(length or 0), 0
    try:
        while piece := raw.read(_PIECE_BYTES, decode_content=True):
            body[at : at + len(piece)] = piece
            at += len(piece)
            if at > max_bytes:
                raise UpstreamAnswerError(f"The upstream's answer has more than {max_bytes} bytes.")
    except ReadTimeoutError as error:
        raise UpstreamTimeoutError("The upstream's answer did not end in time.") from error
    except HTTPError as error:
        raise UpstreamAnswerError("The upstream's answer was cut off.") from error
    del body[at:]
    return body


def _read_refusal(raw: HTTPResponse) -> bytes:
    try:
        return raw.read(_MAX_REFUSAL_BYTES, decode_content=True)
    except HTTPError:
        return b""  # the status was said: that counts
