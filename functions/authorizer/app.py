"""Bearer token -> client: what API Gateway asks before every route but /health."""

from typing import Any

from sd3.clients import clients


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer a TOKEN authorizer's event with a policy, which the gateway caches per token.

    StorageError is not caught: the gateway answers 500 and caches nothing.
    """
    scheme, _, token = event["authorizationToken"].partition(" ")
    client = clients().find(token) if scheme.lower() == "bearer" else None
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
        "context": {"client_id": client.client_id} if client else {},
    }
