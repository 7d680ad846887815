"""The address policy: https to any host, http only to loopback and private addresses."""

import ipaddress
from typing import Final

import requests
from urllib3.util import parse_url

_PRIVATE: Final = tuple(map(
    ipaddress.ip_network,
    ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
))  # fmt: skip


def checked_base_url(text: str) -> str:
    """Check an upstream's base URL; return it without a slash at its end."""
    return checked_url(text, what="the upstream's base URL").rstrip("/")


def checked_url(text: str, *, what: str, query: bool = False) -> str:
    """Check a URL by the address policy and return it; only with `query` it may have a query.

    Raises ValueError, whose message names the URL by `what` and does not quote it.
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
    if not (url.scheme == "https" or (url.scheme == "http" and _is_private(url.host or ""))):
        msg = f"{what} is neither https nor http to a loopback or private address"
        raise ValueError(msg)
    return text


def _is_private(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE)
