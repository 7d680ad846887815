"""The authorization of calls to an upstream: with a key, or in another way without one."""

from collections.abc import Callable, Mapping
from typing import Protocol

from requests import PreparedRequest
from requests.auth import AuthBase

from sd3.errors import UpstreamKeyError

Sign = Callable[[str, bytes, Mapping[str, str]], dict[str, str]]
"""A function from a URL, a body and headers to the headers of the signed request."""


class ApiKey(Protocol):
    """An upstream's key: a cached secret, which is read again when the upstream rejects it."""

    def read(self) -> str:
        """Return the key, or "" if there is none. Raises UpstreamKeyError and StorageError."""

    def renew(self, rejected: str) -> bool:
        """Read the secret again; return whether its key differs from the rejected one."""


def missing_key(_request: PreparedRequest) -> PreparedRequest:
    """Raise UpstreamKeyError, for an upstream that needs a key."""
    raise UpstreamKeyError("The upstream's secret has no key for it.")


def no_auth(request: PreparedRequest) -> PreparedRequest:
    """Return a request unchanged, for an upstream that may need no key."""
    return request


class BearerAuth(AuthBase):
    """Adds a key to the requests of one call, as a bearer token.

    If there is no key, `without_key` authorizes the requests instead.
    """

    def __init__(
        self,
        key: ApiKey,
        *,
        without_key: Callable[[PreparedRequest], PreparedRequest] = missing_key,
    ) -> None:
        self._key, self._without_key = key, without_key
        self._used: str | None = None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request.

        A key that is not a valid header is not sent, because the error of requests would quote it.
        Raises UpstreamKeyError, StorageError and the errors of `without_key`.
        """
        self._used = key = self._key.read()
        if not key:
            return self._without_key(request)
        if not (key.isascii() and key.isprintable() and key == key.strip()):
            raise UpstreamKeyError("The upstream's key cannot be sent as a header.")
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    def renew(self) -> bool:
        """Read the key again after the upstream rejected it; return whether it has changed."""
        return self._used is not None and self._key.renew(self._used)
