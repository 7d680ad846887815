"""Clients that sign in elsewhere: JWTs of one issuer, held against the keys that it publishes."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final

import jwt

from sd3.auth.jwks import ALGORITHMS, JwksClient
from sd3.domain.client import SCOPES, Client

LEEWAY_SECONDS: Final = 30
"""By which the issuer's clock may differ from ours."""

MAX_TOKEN: Final = 8192
"""Characters; the gateway takes 10240 bytes of headers."""


class JwtVerifier:
    """The issuer that a deployment trusts, and the audience that its JWTs are to be for."""

    def __init__(self, url: str, *, audience: str, keys: JwksClient | None = None) -> None:
        """Ask nothing yet. Raises ValueError for a URL that is not safe, or no audience."""
        if not audience:
            raise ValueError("an issuer of JWTs needs an audience: its tokens for others are not")
        self._url = url
        self._audience = audience
        self._keys = keys or JwksClient(url)

    def find(self, token: str) -> Client | None:
        """The client whose JWT this is; None when it is none of the issuer's for us, or not now.

        Raises IssuerError when the issuer's keys cannot be read.
        """
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            # Its name says what is wrong; its message can hold parts of the token.
            logging.getLogger("authorizer").warning("JWT refused: %s", type(error).__name__)
            return None
        name = client_id_of(self._url, claims["sub"])
        return Client(name, name, scopes_in(claims))

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS.values():
            raise jwt.InvalidAlgorithmError("neither RS256 nor ES256")
        key = self._keys.find(str(header.get("kid")))
        if key is None:
            raise jwt.InvalidKeyError("no key of this kid")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._audience,
            issuer=self._url,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["iss", "aud", "exp", "sub"],
                "enforce_minimum_key_length": True,
            },
        )
        if not claims["sub"]:
            raise jwt.InvalidTokenError("no subject")
        return claims


def client_id_of(issuer: str, subject: str) -> str:
    """The client that a subject is: a hash, since subjects hold what keys of objects may not."""
    said = f"{issuer}\n{subject}".encode("utf-8", "surrogatepass")
    return f"jwt-{hashlib.sha256(said).hexdigest()[:32]}"


def scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Ours among the scopes of a token (`scope`, or `scp`); all, when its issuer knows of none.

    An issuer that grants scopes and did not grant ours meant just that.
    """
    said = claims.get("scp") if claims.get("scope") is None else claims["scope"]
    if said is None:
        return SCOPES
    names = said.split() if isinstance(said, str) else said
    return frozenset(scope for scope in SCOPES if isinstance(names, list) and scope in names)
