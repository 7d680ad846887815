"""The public keys (JWKS) of an issuer of JWTs. PyJWT caches them for an hour."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
from jwt import PyJWK, PyJWKClient, PyJWKSet, PyJWTError
from urllib3.exceptions import HTTPError

from sd3.errors import IssuerError
from sd3.http.address import checked_url
from sd3.http.transport import BareSession

ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
"""The accepted algorithms by key type."""

_CURVE: Final = "P-256"
"""The curve of ES256."""

KEEP_SECONDS: Final = 3600.0

REFRESH_SECONDS: Final = 60.0
"""The least time between two reads of the keys for an unknown `kid`. Anybody can invent one."""

MAX_BYTES: Final = 256 * 1024

_SECONDS: Final = 3.0
"""The timeout of each of two requests. The gateway's limit for the authorizer is 10 s."""

_MISSING: Final = (403, 404)
"""The statuses of a file that does not exist. Some buckets respond 403."""


class JwksClient(PyJWKClient):
    """Finds an issuer's keys by their `kid`. It reads their URL from OpenID discovery, if present.

    It replaces the fetch of PyJWT's own client, which has no limit on the length of a response, or
    on the time that it takes.
    """

    def __init__(self, issuer: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Set up the client without a request; raises ValueError for an unsafe issuer URL."""
        self._issuer = issuer
        self._base = checked_url(issuer, what="the issuer of JWTs").rstrip("/") + "/.well-known"
        super().__init__(f"{self._base}/jwks.json", lifespan=KEEP_SECONDS)
        self._clock = clock
        self._fetched_at = -math.inf
        self._has_failed = False

    def find(self, kid: str) -> PyJWK | None:
        """Return the key of an id, or None if the issuer has no such key.

        Raises IssuerError when the issuer cannot be reached or its response cannot be used.
        """
        key = self.match_kid(self.get_jwk_set().keys, kid)
        if key is not None:
            return key
        if self._clock() - self._fetched_at >= REFRESH_SECONDS:
            return self.match_kid(self.get_jwk_set(refresh=True).keys, kid)
        if self._has_failed:
            raise IssuerError("The issuer of JWTs could not be asked a moment ago.")
        return None

    def fetch_data(self) -> PyJWKSet:
        """Read the issuer's usable keys. Raises IssuerError."""
        self._fetched_at, self._has_failed = self._clock(), True
        document = _get(self._jwks_uri())
        if document is None:
            raise IssuerError("The issuer of JWTs publishes no keys.")
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise IssuerError("The issuer of JWTs answered no set of keys.")
        self._has_failed = False
        return _UsableKeys(keys)

    def _jwks_uri(self) -> str:
        metadata = _get(f"{self._base}/openid-configuration")
        if metadata is None:
            return self.uri
        if metadata.get("issuer") != self._issuer:
            raise IssuerError("The issuer of JWTs calls itself otherwise.")
        try:
            uri = str(metadata.get("jwks_uri"))
            return checked_url(uri, what="the issuer's jwks_uri", query=True)
        except ValueError as error:
            raise IssuerError(f"{error}") from error


class _UsableKeys(PyJWKSet):
    """The usable keys of a set. Unlike PyJWT's own class, it can be empty."""

    def __init__(self, keys: list[Any]) -> None:
        self.keys = [key for one in keys if isinstance(one, dict) and (key := _usable(one))]


def _usable(fields: Mapping[str, Any]) -> PyJWK | None:
    algorithm = ALGORITHMS.get(str(fields.get("kty")))
    if algorithm is None or fields.get("alg", algorithm) != algorithm:
        return None
    if fields.get("use", "sig") != "sig" or fields.get("crv", _CURVE) != _CURVE:
        return None
    if not isinstance(fields.get("kid"), str):
        return None
    try:
        return PyJWK(dict(fields), algorithm)
    except PyJWTError:
        return None


def _get(url: str) -> Mapping[str, Any] | None:
    """Read the JSON object at `url`, or return None if it does not exist."""
    try:
        with (
            BareSession() as session,
            session.get(url, timeout=_SECONDS, stream=True, allow_redirects=False) as response,
        ):
            if response.status_code in _MISSING:
                return None
            if response.status_code != requests.codes.ok:
                raise IssuerError(f"The issuer of JWTs answered {response.status_code}.")
            data = response.raw.read(MAX_BYTES + 1, decode_content=False)
    except (requests.RequestException, HTTPError) as error:
        raise IssuerError("The issuer of JWTs did not answer.") from error
    if len(data) > MAX_BYTES:
        raise IssuerError(f"The issuer of JWTs answered more than {MAX_BYTES} bytes.")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IssuerError("The issuer of JWTs answered no JSON.") from error
    if not isinstance(document, dict):
        raise IssuerError("The issuer of JWTs answered no JSON object.")
    return document
