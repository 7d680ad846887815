"""The public keys that an issuer of JWTs publishes (JWKS), kept for an hour."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
from jwt import PyJWK, PyJWTError
from urllib3.exceptions import HTTPError

from sd3.errors import IssuerError
from sd3.http.address import checked_url
from sd3.http.transport import BareSession

ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
"""What is taken, by the type of its key."""

_CURVE: Final = "P-256"
"""The one of ES256."""

KEEP_SECONDS: Final = 3600.0

ASK_AGAIN_SECONDS: Final = 60.0
"""A kid that is not known has the keys read again; whoever makes kids up does so once a minute."""

MAX_BYTES: Final = 256 * 1024

_SECONDS: Final = 3.0
"""For each of two answers: the gateway gives the authorizer 10."""

_ABSENT: Final = (403, 404)
"""How a server says that there is no such file; some buckets say 403."""


class JwksClient:
    """Keys by their `kid`; OpenID discovery, if there is one, says where they are published."""

    def __init__(self, issuer: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask nothing yet; raises ValueError for an issuer that cannot be asked safely."""
        self._issuer = issuer
        self._base = checked_url(issuer, what="the issuer of JWTs").rstrip("/") + "/.well-known"
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._read_at = self._asked_at = -math.inf

    def find(self, kid: str) -> PyJWK | None:
        """The key of that id; None when the issuer has none.

        Raises IssuerError when the issuer cannot be asked, or said what cannot be used.
        """
        now = self._clock()
        fresh = now - self._read_at < KEEP_SECONDS
        if fresh and kid in self._keys:
            return self._keys[kid]
        if fresh and now - self._asked_at < ASK_AGAIN_SECONDS:
            if self._asked_at > self._read_at:
                raise IssuerError("The issuer of JWTs could not be asked a moment ago.")
            return None
        self._asked_at = now
        self._keys = _keys_in(self._read())
        self._read_at = now
        return self._keys.get(kid)

    def _read(self) -> Mapping[str, Any]:
        found = _get(f"{self._base}/openid-configuration")
        address = f"{self._base}/jwks.json"
        if found is not None:
            if found.get("issuer") != self._issuer:
                raise IssuerError("The issuer of JWTs calls itself otherwise.")
            try:
                what = "the issuer's jwks_uri"
                address = checked_url(str(found.get("jwks_uri")), what=what, query=True)
            except ValueError as error:
                raise IssuerError(f"{error}") from error
        keys = _get(address)
        if keys is None:
            raise IssuerError("The issuer of JWTs publishes no keys.")
        return keys


def _get(url: str) -> Mapping[str, Any] | None:
    """The JSON object at `url`; None when there is no such file."""
    try:
        with (
            BareSession() as session,
            session.get(url, timeout=_SECONDS, stream=True, allow_redirects=False) as response,
        ):
            if response.status_code in _ABSENT:
                return None
            if response.status_code != requests.codes.ok:
                raise IssuerError(f"The issuer of JWTs answered {response.status_code}.")
            data = response.raw.read(MAX_BYTES + 1, decode_content=False)
    except (requests.RequestException, HTTPError) as error:
        raise IssuerError("The issuer of JWTs did not answer.") from error
    if len(data) > MAX_BYTES:
        raise IssuerError(f"The issuer of JWTs answered more than {MAX_BYTES} bytes.")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IssuerError("The issuer of JWTs answered no JSON.") from error
    if not isinstance(said, dict):
        raise IssuerError("The issuer of JWTs answered no JSON object.")
    return said


def _keys_in(said: Mapping[str, Any]) -> dict[str, PyJWK]:
    """The keys that can be used here: others may be for other purposes."""
    listed = said.get("keys")
    if not isinstance(listed, list):
        raise IssuerError("The issuer of JWTs answered no set of keys.")
    found = {}
    for told in listed:
        key = _key(told) if isinstance(told, dict) else None
        if key is not None:
            found[str(told["kid"])] = key
    return found


def _key(told: Mapping[str, Any]) -> PyJWK | None:
    algorithm = ALGORITHMS.get(str(told.get("kty")))
    if algorithm is None or told.get("alg", algorithm) != algorithm:
        return None
    if told.get("use", "sig") != "sig" or told.get("crv", _CURVE) != _CURVE:
        return None
    if not isinstance(told.get("kid"), str):
        return None
    try:
        return PyJWK(dict(told), algorithm)
    except PyJWTError:
        return None
