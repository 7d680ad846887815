"""How a call to an upstream is authorized: by a key, or in another way where there is none."""

from collections.abc import Callable, Mapping
from typing import Protocol

from requests import PreparedRequest
from requests.auth import AuthBase

from sd3.errors import UpstreamKeyError

Sign = Callable[[str, bytes, Mapping[str, str]], dict[str, str]]
"""From a URL, a body and headers to the headers of a signed request."""


class ApiKey(Protocol):
    """An upstream's key: a secret that is read once, and again when the upstream rejects it."""

    def read(self) -> str:
        """Return the key, empty if there is none; raises UpstreamKeyError and StorageError."""

    def renew(self, rejected: str) -> bool:
        """Read the secret again; return whether its key is another one than `rejected`."""


def missing_key(_request: PreparedRequest) -> PreparedRequest:
    """Raise UpstreamKeyError: the upstream needs a key."""
    raise UpstreamKeyError("The upstream's secret has no key for it.")


def no_auth(request: PreparedRequest) -> PreparedRequest:
    """Return a request unchanged: the upstream may need no key."""
    return request


class BearerAuth(AuthBase):
    """Puts a key into the requests of one call, as a bearer token.

    Where there is no key, `without_key` authorizes a request instead.
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
        """Authorize a request; raises UpstreamKeyError, StorageError and what `without_key` does.

        A key that cannot be a header is not sent: the error of requests would quote it.
        """
        self._used = key = self._key.read()
        if not key:
            return self._without_key(request)
        if not (key.isascii() and key.isprintable() and key == key.strip()):
            raise UpstreamKeyError("The upstream's key cannot be sent as a header.")
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    def renew(self) -> bool:
        """Read the key again after the upstream rejected it; return whether it is another one."""
        return self._used is not None and self._key.renew(self._used)
