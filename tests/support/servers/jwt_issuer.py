"""An issuer of JWTs on loopback: it signs tokens and publishes its keys."""

import json
import time
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sd3.settings import JwtSettings
from tests.support.servers.scripted_server import MisbehavingServer, Received, Reply, http_reply

AUDIENCE: Final = "sd3"
MOBILE_APP: Final = "1h57kf5cpq17m0eml12EXAMPLE"
"""An app client of Cognito's, whose access tokens have its id in place of `aud`."""
DISCOVERY: Final = "/.well-known/openid-configuration"
JWKS: Final = "/.well-known/jwks.json"
ELSEWHERE: Final = "/keys?policy=1"
"""The address of the keys in the discovery document."""

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "its own", *, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(kid: str, key: Key, **more: Any) -> dict[str, Any]:
    """Return the public half of a key, as it is published."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, **more}
    return ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, **more}


def page(value: object) -> Reply:
    return http_reply(200, json.dumps(value).encode())


def jwts_of(issuer: str, *audiences: str, **settings: Any) -> JwtSettings:
    """Make the settings of a deployment that accepts an issuer's JWTs."""
    return JwtSettings(issuer=issuer, audiences=audiences or (AUDIENCE,), **settings)


class LoopbackIssuer(MisbehavingServer):
    """Serves pages by path; a path without a page is a 404."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, Reply] = {}
        self.publish(jwk("r1", rsa_key()), jwk("e1", ec_key()))

    def publish(self, *keys: object) -> None:
        """Publish these keys, where discovery leads to."""
        self.pages[DISCOVERY] = page({"issuer": self.url, "jwks_uri": self.url + ELSEWHERE})
        self.pages[ELSEWHERE] = page({"keys": keys})

    def next_reply(self, received: Received) -> Reply:
        self.requests.append(received)
        return self.pages.get(received.path, http_reply(404))

    def token(
        self,
        key: Key | None = None,
        *,
        algorithm: str = "RS256",
        header: dict[str, Any] | None = None,
        without: str = "",
        **claims: Any,
    ) -> str:
        """Sign a token that is valid, but for the arguments."""
        now = int(time.time())
        valid = {"iss": self.url, "aud": AUDIENCE, "sub": "user|7", "exp": now + 300, "nbf": now}
        payload = {name: value for name, value in (valid | claims).items() if name != without}
        return jwt.encode(payload, key or rsa_key(), algorithm, {"kid": "r1"} | (header or {}))
