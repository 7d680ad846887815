"""A minimal session of requests, whose timeout limits a whole exchange.

The timeouts of requests and urllib3 limit the wait for each piece of a response, so a server that
sends one byte a second can hold its client forever. Only the connection takes part in the whole
exchange, so a connection class of our own counts down the time that is left. It also shows whether
anything was sent. It is not used again after it was idle so long that the server may close it.
"""

import io
import logging
import socket
import time
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from http.client import HTTPResponse as RawResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from certifi import where
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationParseError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout

from sd3.tls import tls_context

CONNECT_SECONDS: Final = 3.0
"""The time to connect to each address of the host. A lost SYN is sent again after 1 s, and once
more after 3 s."""

_MAX_INFORMATIONAL: Final = 100

# It would log the URL of a response whose headers it cannot read, and those headers.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

MAX_IDLE_SECONDS: Final = 4.0
"""The longest idle time of a connection. uvicorn and Node close idle connections after 5 s, earlier
than other servers."""


class BareSession(requests.Session):
    """A session that follows no redirects, stores no cookies and ignores the environment.

    The timeout of a request covers all of it, from connecting to the last byte of the body.
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
        """Return None, since requests would read the whole body of a redirect."""


class _DeadlineAdapter(HTTPAdapter):
    def send(self, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = Timeout(total=options["timeout"])
        return super().send(*args, **options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = TlsConnection if pool.scheme == "https" else Connection
        return pool

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            pool["ssl_context"] = tls_context(verify if isinstance(verify, str) else where())
        return host, pool


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, stream: io.RawIOBase) -> None:
        self._sock = sock
        self._stream = stream  # keeps the socket open after the connection releases it
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
    """A response whose headers and body together must arrive within the socket's timeout."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))

    def _read_status(self) -> tuple[str, int, str]:
        """Read past informational responses (1xx), of which http.client knows 100 only.

        Raises HTTPException after too many of them.
        """
        for _ in range(_MAX_INFORMATIONAL):
            version, status, reason = super()._read_status()  # type: ignore[misc] # not in typeshed
            if status >= HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            parse_headers(self.fp)
        raise HTTPException("too many informational responses")


class Connection(HTTPConnection):
    """A connection whose timeout limits connecting, sending and reading together.

    One call of the socket sends the whole body within the timeout.

    A used connection counts as disconnected after MAX_IDLE_SECONDS, because the server may close it
    while a request is sent. The server may have read such a lost POST and charged for it, so it is
    never sent again. Idle time counts from the response's headers, which errs on the safe side.
    """

    response_class = _Response
    _responded_at = 0.0

    @property
    def is_connected(self) -> bool:
        is_fresh = time.monotonic() - self._responded_at <= MAX_IDLE_SECONDS
        return is_fresh and super().is_connected

    def connect(self) -> None:
        """Connect, with CONNECT_SECONDS more for the TLS handshake.

        Raises NewConnectionError for every failure. Nothing else raises it, so it shows the session
        that nothing was sent.
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
        self._responded_at = time.monotonic()
        return response


class TlsConnection(Connection, HTTPSConnection):
    """Such a connection over TLS."""


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds
