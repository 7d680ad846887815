"""What the claims of a verified JWT say: whom it is for, what for, and which of our scopes it has.

Issuers say the same in different claims. docs/clients.md has a table of them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import jwt

from sd3.domain.client import SCOPES
from sd3.settings import JwtScopes

_TYPES: Final = frozenset(("jwt", "at+jwt"))
"""The header's `typ` of an ID token or an access token. Issuers may leave it out."""

_USES: Final = frozenset(("access", "id"))
"""Cognito's `token_use`."""

_KINDS: Final = frozenset(("bearer", "id"))
"""Keycloak's claim `typ`. The others are for Keycloak itself, or bound to a key of the client."""

_OTHER_USE: Final = ("cnf", "events")
"""The claims of a token that is bound to a key, and of a notice (of a logout, say)."""

_MAX_NAME: Final = 64

_NOT_SHOWN: Final = re.compile(r"[^A-Za-z0-9@._+-]+")
"""The access log is JSON that the gateway writes without escapes."""


def check_use(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Raise InvalidTokenError unless this is an ID token, or an access token for any bearer."""
    media_type = str(header.get("typ", "JWT")).lower().removeprefix("application/")
    if (
        media_type not in _TYPES
        or str(claims.get("token_use", "access")) not in _USES
        or str(claims.get("typ", "Bearer")).lower() not in _KINDS
        or any(name in claims for name in _OTHER_USE)
    ):
        raise jwt.InvalidTokenError("neither an ID token nor an access token for any bearer")


def check_audience(claims: Mapping[str, Any], audiences: Iterable[str]) -> None:
    """Raise InvalidAudienceError unless the token is for one of `audiences`.

    Cognito's access tokens have the app client's id in `client_id` instead of `aud`. In another
    token `client_id` says who asks, not whom the token is for.
    """
    claim = claims.get("aud")
    if "aud" not in claims and claims.get("token_use") == "access":
        claim = claims.get("client_id")
    if claim is None:
        raise jwt.MissingRequiredClaimError("aud")
    names = [claim] if isinstance(claim, str) else claim
    if not isinstance(names, list) or not any(audience in names for audience in audiences):
        raise jwt.InvalidAudienceError("for another audience")


def scopes_in(
    claims: Mapping[str, Any], *, audiences: Iterable[str], use: JwtScopes
) -> frozenset[str]:
    """Return the service's scopes that a token has.

    They come from `scope` (or else `scp`), which says what the app may do. If that names none of
    ours, they come from `permissions` and `roles`, which say what the user may do. A scope may have
    an audience in front of it, as in `sd3/generate`. `use` says what a token without scopes has.
    """
    if use is JwtScopes.IGNORED:
        return SCOPES
    of_app = claims.get("scp") if claims.get("scope") is None else claims["scope"]
    of_user = (claims.get("permissions"), claims.get("roles"))
    if use is JwtScopes.OPTIONAL and of_app is None and of_user == (None, None):
        return SCOPES
    prefixes = ("", *(f"{audience.rstrip('/')}/" for audience in audiences))
    return _ours([of_app], prefixes) or _ours(of_user, prefixes)


def name_in(claims: Mapping[str, Any], claim: str) -> str | None:
    """Return the name in a claim, fit for logs; None if there is no claim or no such text."""
    value = claims.get(claim) if claim else None
    text = _NOT_SHOWN.sub("-", value).strip("-") if isinstance(value, str) else ""
    return text[:_MAX_NAME] or None


def _ours(granted: Iterable[Any], prefixes: Iterable[str]) -> frozenset[str]:
    words = [word for claim in granted for word in _words(claim)]
    return frozenset(
        scope for scope in SCOPES for prefix in prefixes if f"{prefix}{scope}" in words
    )


def _words(claim: Any) -> list[Any]:
    """Return the words of a text, or the items of a list."""
    if isinstance(claim, str):
        return claim.split()
    return claim if isinstance(claim, list) else []
