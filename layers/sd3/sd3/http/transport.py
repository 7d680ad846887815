"""Connections to where it is safe, whose timeout bounds a whole exchange, never used when stale."""

import io
import ipaddress
import socket
import time
from http.client import HTTPResponse as RawResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import LocationParseError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout, parse_url

CONNECT_SECONDS: Final = 3.0
"""For each address of the host: one lost SYN is sent again after 1 s, a second after 3 s."""

MAX_IDLE_SECONDS: Final = 4.0
"""Below the 5 s after which uvicorn and Node, the most impatient of servers, close."""

_PIECE: Final = 16 * 1024  # one TLS record: SSLSocket.sendall begins its timeout anew with each

_PRIVATE: Final = tuple(map(
    ipaddress.ip_network,
    ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
))  # fmt: skip


def checked_base_url(text: str) -> str:
    """An upstream's URL as checked_url has it, less a trailing slash."""
    return checked_url(text, what="the upstream's base URL").rstrip("/")


def checked_url(text: str, *, what: str, query: bool = False) -> str:
    """Take https anywhere and http to a loopback or private address, with a query if it may.

    Raises ValueError, which says `what` it was to be and does not quote it.
    """
    try:
        url = parse_url(text)
        requests.Request("POST", text).prepare()
    except ValueError:
        msg = f"{what} is not a URL"
        raise ValueError(msg) from None
    if url.auth or url.fragment is not None or (url.query is not None and not query):
        msg = f"{what} has a user, query or fragment: it may not"
        raise ValueError(msg)
    if not (url.scheme == "https" or (url.scheme == "http" and _is_near(url.host or ""))):
        msg = f"{what} is neither https nor http to a loopback or private address"
        raise ValueError(msg)
    return text


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE)


class DeadlineAdapter(HTTPAdapter):
    """The connections below for requests: its timeout is the whole call's, not each read's."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of requests, of our connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(self, *args: Any, **options: Any) -> requests.Response:
        """Send and read the headers within `timeout` seconds; what is left is for the body."""
        options["timeout"] = Timeout(total=options["timeout"])
        return super().send(*args, **options)


class BareSession(requests.Session):
    """A session of the connections below.

    It takes nothing from the environment, keeps no cookie and follows no redirect.
    """

    def __init__(self, *, pool_size: int = 1) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": "sd3-image-service", "Accept-Encoding": "identity"})
        adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=pool_size)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def get_redirect_target(self, _resp: requests.Response) -> None:
        """Say that there is none, or requests reads a redirect's body, however long, to its end."""


class _Response(RawResponse):
    """An answer whose headers and body share one timeout, the socket's when it begins."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach()))


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, stream: io.RawIOBase) -> None:
        self._sock = sock
        self._stream = stream  # it keeps the socket open when the connection lets go of it
        self._until = _until(sock)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._until))
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _until(sock: socket.socket) -> float:
    return time.monotonic() + (sock.gettimeout() or 0.0)


def _left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class _Connection(HTTPConnection):
    """A connection that, once used, answers as disconnected when it may be half closed.

    Both ends of an idle connection can act at once: the server closes it while we send. A POST
    lost like that may have been read, so it is never sent again; what helps is not to use a
    connection that the server is about to close. One whose close has arrived is dropped by
    urllib3 itself. Idle time counts from the answer's headers on, which errs to the safe side.
    """

    _answered = 0.0
    response_class = _Response

    @property
    def is_connected(self) -> bool:
        fresh = time.monotonic() - self._answered <= MAX_IDLE_SECONDS
        return fresh and super().is_connected

    def connect(self) -> None:
        """Connect within CONNECT_SECONDS, the TLS handshake counted apart.

        Raises NewConnectionError for every failure, and nothing else does: it is how the
        session knows that nothing has been sent.
        """
        whole = self.timeout or 0.0
        until = time.monotonic() + whole
        self.timeout = min(whole, CONNECT_SECONDS)
        try:
            super().connect()
            self.timeout = _left(until)
        except (OSError, LocationParseError) as error:
            raise NewConnectionError(self, "not connected") from error
        self.sock.settimeout(self.timeout)

    def send(self, data: Any) -> None:
        """Send the bytes, all of them within what is left of the socket's timeout."""
        if self.sock is None:
            self.connect()
        until = _until(self.sock)
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self.sock.settimeout(_left(until))
            self.sock.sendall(view[start : start + _PIECE])

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3's own does
        response = super().getresponse()
        self._answered = time.monotonic()
        return response


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
