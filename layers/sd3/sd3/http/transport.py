"""A bare session of requests, whose timeout bounds a whole exchange.

requests and urllib3 bound the wait for each piece of a response: a server that sends a byte a
second keeps its client for ever. Only the connection takes part in all of it, so one of our own
counts down the time that is left. It also says whether anything was sent, and is given up when it
was idle for so long that the server may be closing it.
"""

import io
import socket
import time
from http.client import HTTPResponse as RawResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationParseError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout

CONNECT_SECONDS: Final = 3.0
"""For each address of the host: one lost SYN is sent again after 1 s, a second after 3 s."""

MAX_IDLE_SECONDS: Final = 4.0
"""Below the 5 s after which uvicorn and Node, the most impatient of servers, close."""


class BareSession(requests.Session):
    """A session that follows no redirect, keeps no cookie and takes nothing from the environment.

    The timeout of a request is the time for all of it, from connecting to the body's last byte.
    """

    def __init__(self, *, pool_size: int = 1) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": "sd3-image-service", "Accept-Encoding": "identity"})
        adapter = _DeadlineAdapter(pool_connections=1, pool_maxsize=pool_size)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def get_redirect_target(self, _resp: requests.Response) -> None:
        """Return None: requests would read a redirect's body, however long, to its end."""


class _DeadlineAdapter(HTTPAdapter):
    def send(self, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = Timeout(total=options["timeout"])
        return super().send(*args, **options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _TlsConnection if pool.scheme == "https" else _Connection
        return pool


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, stream: io.RawIOBase) -> None:
        self._sock = sock
        self._stream = stream  # keeps the socket open when the connection lets go of it
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(RawResponse):
    """A response whose headers and body share the socket's timeout at its start."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    """A connection whose timeout bounds connecting, sending and reading together.

    A body is sent by one call of the socket, which keeps to the timeout as a whole.

    Once used, it counts as disconnected after MAX_IDLE_SECONDS: the server may close it while a
    request is sent. A POST that is lost like that may have been read and paid, so it is never sent
    again. Idle time counts from the response's headers, which errs on the safe side.
    """

    response_class = _Response
    _answered_at = 0.0

    @property
    def is_connected(self) -> bool:
        is_fresh = time.monotonic() - self._answered_at <= MAX_IDLE_SECONDS
        return is_fresh and super().is_connected

    def connect(self) -> None:
        """Connect, and give the TLS handshake CONNECT_SECONDS of its own.

        Raises NewConnectionError for every failure, which nothing else does: by that the
        session knows that nothing was sent.
        """
        seconds = self.timeout or 0.0
        deadline = time.monotonic() + seconds
        self.timeout = min(seconds, CONNECT_SECONDS)
        try:
            super().connect()
            self.timeout = _left(deadline)
        except (OSError, LocationParseError) as error:
            raise NewConnectionError(self, "not connected") from error
        self.sock.settimeout(self.timeout)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3's own does
        response = super().getresponse()
        self._answered_at = time.monotonic()
        return response


class _TlsConnection(_Connection, HTTPSConnection):
    pass


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds
