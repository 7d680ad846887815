"""Clients with JWTs of one issuer, which are verified with the keys that it publishes."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final

import jwt

from sd3.auth.jwks import ALGORITHMS, JwksClient
from sd3.domain.client import SCOPES, Client

LEEWAY_SECONDS: Final = 30
"""The largest accepted difference between the issuer's clock and ours."""

MAX_TOKEN: Final = 8192
"""The longest token in characters. The gateway accepts 10240 bytes of headers."""


class JwtVerifier:
    """Verifies the JWTs that a trusted issuer has made for one audience."""

    def __init__(self, issuer: str, *, audience: str, jwks: JwksClient | None = None) -> None:
        """Set up the verifier without a request.

        Raises ValueError for an unsafe issuer URL, and for an empty audience.
        """
        if not audience:
            raise ValueError("an issuer of JWTs needs an audience: its tokens for others are not")
        self._issuer = issuer
        self._audience = audience
        self._jwks = jwks or JwksClient(issuer)

    def find(self, token: str) -> Client | None:
        """Return the client of a JWT, or None if its issuer, its audience or the JWT is not valid.

        Raises IssuerError when the issuer's keys cannot be read.
        """
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            # The error's name says what is wrong. Its message can contain parts of the token.
            logging.getLogger("authorizer").warning("JWT rejected: %s", type(error).__name__)
            return None
        name = client_id_of(self._issuer, claims["sub"])
        return Client(name, name, scopes_in(claims))

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS.values():
            raise jwt.InvalidAlgorithmError("neither RS256 nor ES256")
        key = self._jwks.find(str(header.get("kid")))
        if key is None:
            raise jwt.InvalidKeyError("no key of this kid")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self._audience,
            issuer=self._issuer,
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
    """Return the client id of a subject. It is a hash, since client ids are parts of S3 keys."""
    subject_of_issuer = f"{issuer}\n{subject}".encode("utf-8", "surrogatepass")
    return f"jwt-{hashlib.sha256(subject_of_issuer).hexdigest()[:32]}"


def scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the service's scopes that a token grants (`scope`, or `scp`).

    A token without such a claim grants all of them, since its issuer does not use scopes. A token
    whose claim has none of them grants none.
    """
    claim = claims.get("scp") if claims.get("scope") is None else claims["scope"]
    if claim is None:
        return SCOPES
    names = claim.split() if isinstance(claim, str) else claim
    return frozenset(scope for scope in SCOPES if isinstance(names, list) and scope in names)
