"""The public keys that an issuer of JWTs publishes (JWKS): PyJWT keeps them for an hour."""

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
"""The accepted algorithms, by the type of their keys."""

_CURVE: Final = "P-256"
"""The one of ES256."""

KEEP_SECONDS: Final = 3600.0

ASK_AGAIN_SECONDS: Final = 60.0
"""An unknown kid has the keys read again, but no more often: anybody can make kids up."""

MAX_BYTES: Final = 256 * 1024

_SECONDS: Final = 3.0
"""For each of two responses: the gateway gives the authorizer 10."""

_MISSING: Final = (403, 404)
"""The statuses for a file that does not exist; some buckets answer 403."""


class JwksClient(PyJWKClient):
    """Finds keys by their `kid`; OpenID discovery, if there is one, says where they are published.

    PyJWT's own client reads by urllib: whatever the length, and for as long as it takes.
    """

    def __init__(self, issuer: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask nothing yet; raises ValueError for an issuer that cannot be asked safely."""
        self._issuer = issuer
        self._base = checked_url(issuer, what="the issuer of JWTs").rstrip("/") + "/.well-known"
        super().__init__(f"{self._base}/jwks.json", lifespan=KEEP_SECONDS)
        self._clock = clock
        self._asked_at = -math.inf
        self._has_failed = False

    def find(self, kid: str) -> PyJWK | None:
        """Return the key of that id, or None when the issuer has none.

        Raises IssuerError when the issuer cannot be asked, or answers what cannot be used.
        """
        key = self.match_kid(self.get_jwk_set().keys, kid)
        if key is not None:
            return key
        if self._clock() - self._asked_at >= ASK_AGAIN_SECONDS:
            return self.match_kid(self.get_jwk_set(refresh=True).keys, kid)
        if self._has_failed:
            raise IssuerError("The issuer of JWTs could not be asked a moment ago.")
        return None

    def fetch_data(self) -> PyJWKSet:
        """Read the keys that can be used from the issuer. Raises IssuerError."""
        self._asked_at, self._has_failed = self._clock(), True
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
    """The keys of a set that can be used here; unlike PyJWT's own, it can be empty."""

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
    """Read the JSON object at `url`, or return None when there is no such file."""
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
