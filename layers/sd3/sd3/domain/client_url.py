"""URLs that clients name, and the addresses that they may lead to.

What is checked here is what is used: nothing else reads the text of a URL again, and might read it
in another way.
"""

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Final, NamedTuple

MAX_URL: Final = 2048

MAX_HOST: Final = 253

_URL: Final = re.compile(r"(?P<scheme>https?)://(?P<server>[^/?]*)(?P<target>.*)", re.IGNORECASE)

_SERVER: Final = re.compile(r"(?P<host>[a-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")

_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")

_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The last part of a host that browsers and resolvers read as an address: 127.1, 0x7f000001."""

_NOT_IN_URLS: Final = re.compile(r"[^!-~]|\\")

_NO_PUBLIC_ADDRESS: Final = "its host is not a public address"

_OTHER_NETWORKS: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""Networks for protocols, of which `ipaddress` counts some addresses as global."""

_OPEN_PORTS: Final = range(1024, 65_536)


class UrlError(ValueError):
    """A URL that cannot be used; the message is for its client, and does not quote it."""


class UrlPolicy(StrEnum):
    """Which URLs of clients are used."""

    PUBLIC = "public"
    """https to public addresses."""
    NONE = "none"
    LOOPBACK = "loopback"
    """Also https and http to this machine, for what runs on one machine."""


class ClientUrl(NamedTuple):
    """A URL in its parts. `target` is the path with the query, exactly as the client wrote it."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by its name or address."""
        return self.host == "localhost" or _is_loopback_address(self.host)


def read_url(text: str) -> ClientUrl:
    """Read a URL, of a form that some policy allows. Raises UrlError."""
    if len(text) > MAX_URL:
        raise UrlError(f"it has more than {MAX_URL} characters")
    if _NOT_IN_URLS.search(text):
        raise UrlError("characters other than visible ASCII, and backslashes, should be encoded")
    if "#" in text:
        raise UrlError("it has a fragment (#), which is no part of an address")
    if not (parts := _URL.fullmatch(text)):
        raise UrlError("it should begin with https://")
    if "@" in parts["server"]:
        raise UrlError("it has a user or a password")
    if not (server := _SERVER.fullmatch(parts["server"].lower())):
        raise UrlError("its host should be a name or an IPv4 address")
    scheme, host, target = parts["scheme"].lower(), server["host"], parts["target"]
    _check_host(host)
    port = int(server["port"] or (443 if scheme == "https" else 80))
    url = ClientUrl(scheme, host, port, target if target.startswith("/") else f"/{target}")
    if scheme == "http" and not url.is_loopback:
        raise UrlError("it should begin with https://")
    if port != 443 and port not in _OPEN_PORTS:
        raise UrlError("its port should be 443, or 1024 to 65535")
    return url


def check_policy(url: ClientUrl, policy: UrlPolicy) -> None:
    """Raise UrlError for a URL that the policy does not allow by its form."""
    if policy is UrlPolicy.NONE:
        raise UrlError("this service calls no addresses that clients name")
    if url.is_loopback and policy is not UrlPolicy.LOOPBACK:
        raise UrlError(_NO_PUBLIC_ADDRESS)


def may_connect(address: str, policy: UrlPolicy) -> bool:
    """Return whether the policy allows a connection to an IPv4 address."""
    is_local = policy is UrlPolicy.LOOPBACK and _is_loopback_address(address)
    return policy is not UrlPolicy.NONE and (_is_public(IPv4Address(address)) or is_local)


def _check_host(host: str) -> None:
    """Check a host by its form. Names that do not end in a number are left to the resolver."""
    labels = host.split(".")
    if len(host) > MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise UrlError("its host is not a valid name")
    if _NUMBER.fullmatch(labels[-1]):
        address = _address(host)
        if not address or not (address.is_loopback or _is_public(address)):
            raise UrlError(_NO_PUBLIC_ADDRESS)
    elif len(labels) == 1 and host != "localhost":
        raise UrlError(_NO_PUBLIC_ADDRESS)


def _is_loopback_address(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> IPv4Address | None:
    """Read an address of four decimal numbers, and of no other notation."""
    try:
        return IPv4Address(host)
    except ValueError:
        return None


def _is_public(address: IPv4Address) -> bool:
    if address.is_multicast or not address.is_global:
        return False
    return not any(address in network for network in _OTHER_NETWORKS)
