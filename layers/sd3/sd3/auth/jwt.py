"""Clients with JWTs of one issuer, which are verified with the keys that it publishes."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final

import jwt

from sd3.auth.claims import check_audience, check_use, name_in, scopes_in
from sd3.auth.jwks import ALGORITHMS, JwksClient
from sd3.domain.client import Client, ClientLimits
from sd3.settings import JwtSettings

LEEWAY_SECONDS: Final = 30
"""The largest accepted difference between the issuer's clock and ours."""

MAX_TOKEN: Final = 8192
"""The longest token in characters. The gateway accepts 10240 bytes of headers."""


class JwtVerifier:
    """Verifies the JWTs that a trusted issuer has made for one of our audiences."""

    def __init__(self, settings: JwtSettings, *, jwks: JwksClient | None = None) -> None:
        """Set up the verifier without a request. Raises ValueError for an unsafe issuer URL."""
        self._settings = settings
        self._limits = ClientLimits(
            daily_budget_micros=settings.daily_budget_micros,
            requests_per_minute=settings.requests_per_minute,
            max_images=settings.max_images,
            total_daily_budget_micros=settings.total_daily_budget_micros,
        )
        self._jwks = jwks or JwksClient(settings.issuer)

    def find(self, token: str) -> Client | None:
        """Return the client of a JWT, or None if it is not valid or not for this service.

        Raises IssuerError when the issuer's keys cannot be read.
        """
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            # The error's name says what is wrong. Its message can contain parts of the token.
            _warn("JWT rejected: %s", type(error).__name__)
            return None
        settings = self._settings
        client_id = client_id_of(settings.issuer, claims["sub"])
        scopes = scopes_in(claims, audiences=settings.audiences, use=settings.scopes)
        if not scopes:
            _warn("JWT without a scope of this service: %s", client_id)
        return Client(
            client_id=client_id,
            name=client_id,
            scopes=scopes,
            limits=self._limits,
            display_name=name_in(claims, settings.name_claim),
        )

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
            issuer=self._settings.issuer,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["iss", "exp", "sub"],
                "verify_aud": False,  # by check_audience, since Cognito's access tokens have no aud
                "enforce_minimum_key_length": True,
            },
        )
        if not claims["sub"]:
            raise jwt.InvalidTokenError("no subject")
        check_use(header, claims)
        check_audience(claims, self._settings.audiences)
        return claims


def _warn(message: str, subject: str) -> None:
    logging.getLogger("authorizer").warning(message, subject)


def client_id_of(issuer: str, subject: str) -> str:
    """Return the client id of a subject. It is a hash, since client ids are parts of S3 keys.

    It depends on nothing that a user can change, or that only some tokens of a user have. Otherwise
    one user could be several clients, each with a budget.
    """
    subject_of_issuer = f"{issuer}\n{subject}".encode("utf-8", "surrogatepass")
    return f"jwt-{hashlib.sha256(subject_of_issuer).hexdigest()[:32]}"
