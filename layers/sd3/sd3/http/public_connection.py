"""Connections to servers that clients name, which lead to no address that is not public.

A name is looked up once, and the connection is made to an address of that answer: a name that leads
elsewhere a moment later leads nowhere. Whoever uses a connection follows no redirect.
"""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from certifi import where

from sd3.domain.client_url import ClientUrl, UrlPolicy, may_connect
from sd3.http.transport import CONNECT_SECONDS, Connection, TlsConnection
from sd3.tls import tls_context


class _PublicConnection(Connection):
    """A connection to an address that the policy allows."""

    policy = UrlPolicy.PUBLIC

    def _new_conn(self) -> socket.socket:
        address = _look_up(self.host, self.policy)
        return socket.create_connection((address, self.port), self.timeout)


class _PublicTlsConnection(_PublicConnection, TlsConnection):
    """Such a connection over TLS, to a server with a certificate for the host of the URL."""


def open_connection(
    url: ClientUrl, policy: UrlPolicy, *, seconds: float, ca_bundle: str | None = None
) -> Connection:
    """Make a connection for one exchange within so many seconds. It connects when it is used.

    It then raises NewConnectionError, which does not tell an address that is not allowed from a
    server that does not answer. `ca_bundle` is a path, and None means certifi's bundle.
    """
    options: dict[str, Any] = {"timeout": seconds}
    kind: type[_PublicConnection] = _PublicConnection
    if url.scheme == "https":
        kind = _PublicTlsConnection
        options["ssl_context"] = tls_context(ca_bundle or where())
    connection = kind(url.host, url.port, **options)
    connection.policy = policy
    return connection


def _look_up(host: str, policy: UrlPolicy) -> str:
    """Look up a host and return one of its IPv4 addresses, if the policy allows all of them.

    Functions outside of a VPC have no way out by IPv6. Raises OSError.
    """
    addresses = [str(answer[4][0]) for answer in _answers(host)]
    if not addresses or not all(may_connect(address, policy) for address in addresses):
        raise OSError("not an address that is allowed")
    return addresses[0]


def _answers(host: str) -> list[Any]:
    """Ask the resolver, which has no deadline of its own. Raises OSError."""
    resolver = ThreadPoolExecutor(max_workers=1)
    try:
        asked = resolver.submit(socket.getaddrinfo, host, None, socket.AF_INET, socket.SOCK_STREAM)
        return asked.result(CONNECT_SECONDS)
    finally:
        resolver.shutdown(wait=False)
