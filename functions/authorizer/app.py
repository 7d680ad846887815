"""The Lambda authorizer: API Gateway calls it for every route that needs a bearer token."""

import re
from typing import Any, Final

from sd3.bootstrap import clients, jwt_verifier, prepare
from sd3.domain.client import Client

_BEARER: Final = re.compile(r"bearer +([\w.-]+)", re.IGNORECASE | re.ASCII)
"""RFC 9110: a scheme in any case, one or more spaces (no tabs), and the token."""


def handler(event: Any, _context: Any) -> dict[str, Any]:
    """Return the policy for a TOKEN authorizer's event. The gateway caches it by token.

    Any other event, as of a plugin that keeps functions warm, gets a policy that denies.
    StorageError and IssuerError are not caught: the gateway responds 500 and caches nothing.
    """
    fields = event if isinstance(event, dict) else {}
    credentials = _BEARER.fullmatch(str(fields.get("authorizationToken")))
    client = _find_client(credentials[1]) if credentials else None
    # All routes share the cache, so the policy is for the whole stage of this API.
    stage = "/".join(str(fields.get("methodArn")).split("/", 2)[:2])
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if client else "Deny",
        "Resource": f"{stage}/*",
    }
    return {
        "principalId": client.client_id if client else "unknown",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": _authorizer_context(client) if client else {},
    }


def _find_client(token: str) -> Client | None:
    """Find the client of one of our tokens or, if the deployment accepts JWTs, of a JWT."""
    jwts = jwt_verifier() if token.count(".") == 2 else None
    return (jwts or clients()).find(token)


def _authorizer_context(client: Client) -> dict[str, str]:
    """Return what the functions need to know about a client. The gateway passes only strings."""
    scopes = " ".join(sorted(client.scopes))
    name = {"client_name": client.display_name} if client.display_name else {}
    return {"client_id": client.client_id, "scopes": scopes, **name, **client.limits.to_context()}


prepare(clients, jwt_verifier)
