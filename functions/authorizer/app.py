"""Bearer token -> client: what API Gateway asks before every route that is not open."""

from typing import Any

from sd3.bootstrap import clients, jwt_verifier
from sd3.domain.client import Client


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer a TOKEN authorizer's event with a policy, which the gateway caches per token.

    StorageError and IssuerError are not caught: the gateway answers 500 and caches nothing.
    """
    scheme, _, token = event["authorizationToken"].partition(" ")
    client = holder(token) if scheme.lower() == "bearer" else None
    # The cache is shared by all routes, so the policy is for the whole stage of this API.
    stage = "/".join(event["methodArn"].split("/", 2)[:2])
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if client else "Deny",
        "Resource": f"{stage}/*",
    }
    return {
        "principalId": client.client_id if client else "unknown",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": told(client) if client else {},
    }


def holder(token: str) -> Client | None:
    """The client that holds a token of ours or, where they are taken, a JWT."""
    jwts = jwt_verifier() if token.count(".") == 2 else None
    return (jwts or clients()).find(token)


def told(client: Client) -> dict[str, str]:
    """What the functions get to know of a client: the gateway passes on text only."""
    scopes = " ".join(sorted(client.scopes))
    return {"client_id": client.client_id, "scopes": scopes, **client.limits.to_context()}
