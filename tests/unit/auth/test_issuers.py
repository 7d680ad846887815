"""Tokens as the issuers of the field make them: which of them identify a client, with which scopes.

The claims are those of the issuers' own documents, read in November 2026.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from sd3.auth.jwt import JwtVerifier
from sd3.domain.client import GENERATE, READ, SCOPES
from sd3.settings import JwtScopes
from tests.support.servers.jwt_issuer import MOBILE_APP, LoopbackIssuer, jwts_of

API: Final = "https://sd3.example"

ENTRA_API: Final = "535fb089-9ff3-47b6-9bfb-4f1264799865"

FIREBASE: Final = "my-project"


@pytest.fixture(scope="module")
def issuer() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as started:
        yield started


COGNITO_ACCESS: Final = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "device_key": "us-east-1_11111111",
    "cognito:groups": ["testers"],
    "version": 2,
    "client_id": MOBILE_APP,
    "origin_jti": "bbbbbbbb",
    "event_id": "cccccccc",
    "token_use": "access",
    "auth_time": 1676313851,
    "jti": "dddddddd",
    "username": "anna",
}
COGNITO_ID: Final = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["testers"],
    "email_verified": True,
    "cognito:username": "anna",
    "nonce": "abcdefg",
    "origin_jti": "bbbbbbbb",
    "aud": MOBILE_APP,
    "event_id": "cccccccc",
    "token_use": "id",
    "auth_time": 1676312777,
    "jti": "eeeeeeee",
    "email": "anna@example.com",
}
AUTH0: Final = {
    "sub": "auth0|123456",
    "aud": [API, "https://my-domain.eu.auth0.com/userinfo"],
    "azp": "my_client_id",
}
ENTRA_V2: Final = {
    "aud": ENTRA_API,
    "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
    "azpacr": "0",
    "name": "Anna",
    "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "preferred_username": "anna@example.com",
    "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "uti": "fqiBqXLPj0eQa82S-IYFAA",
    "ver": "2.0",
}
ENTRA_V1: Final = {
    "aud": f"api://{ENTRA_API}",
    "appid": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
    "appidacr": "0",
    "amr": ["pwd"],
    "sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA",
    "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "unique_name": "anna@example.com",
    "ver": "1.0",
}
ENTRA_DAEMON: Final = {
    "aud": ENTRA_API,
    "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
    "azpacr": "1",
    "idtyp": "app",
    "sub": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "ver": "2.0",
}
FIREBASE_ID: Final = {
    "name": "Anna",
    "aud": FIREBASE,
    "auth_time": 1623847832,
    "user_id": "Xk893u23H9SI893",
    "sub": "Xk893u23H9SI893",
    "email": "anna@example.com",
    "email_verified": True,
    "firebase": {"identities": {"email": ["anna@example.com"]}, "sign_in_provider": "password"},
}
KEYCLOAK: Final = {
    "jti": "onrtac:6e2f",
    "aud": [API, "account"],
    "sub": "4b8d1f2e-7a0c-4a55-9d0f-3b1c5d9f7a11",
    "typ": "Bearer",
    "azp": MOBILE_APP,
    "sid": "8a1c",
    "acr": "1",
    "realm_access": {"roles": ["offline_access", "generate"]},
    "resource_access": {"account": {"roles": ["manage-account"]}},
    "preferred_username": "anna",
}
OKTA: Final = {
    "ver": 1,
    "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "aud": API,
    "cid": "nmdP1fcyvdVO11AL7ECm",
    "uid": "00ujmkLgagxeRrAg20g3",
    "sub": "anna@example.com",
}
RFC_9068: Final = {
    "sub": "5ba552d67",
    "aud": API,
    "client_id": "s6BhdRkqt3",
    "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
    "header": {"typ": "at+jwt"},
}


@pytest.mark.parametrize(
    ("token", "granted", "required", "ignored"),
    [
        # Cognito: an app client's access tokens by its id, the resource server is an audience
        ({**COGNITO_ACCESS, "scope": f"{API}/generate openid"}, {GENERATE}, {GENERATE}, SCOPES),
        ({**COGNITO_ACCESS, "scope": f"{API}/generate {API}/read"}, SCOPES, SCOPES, SCOPES),
        ({**COGNITO_ACCESS, "scope": "openid email"}, set(), set(), SCOPES),
        ({**COGNITO_ACCESS, "scope": "aws.cognito.signin.user.admin"}, set(), set(), SCOPES),
        ({**COGNITO_ACCESS, "scope": "other/generate other/read"}, set(), set(), SCOPES),
        ({**COGNITO_ACCESS, "aud": API, "scope": f"{API}/read"}, {READ}, {READ}, SCOPES),
        (COGNITO_ID, SCOPES, set(), SCOPES),
        # Auth0
        ({**AUTH0, "scope": "openid profile generate"}, {GENERATE}, {GENERATE}, SCOPES),
        ({**AUTH0, "scope": "openid profile", "permissions": ["generate"]},
         {GENERATE}, {GENERATE}, SCOPES),
        ({**AUTH0, "scope": "openid profile", "permissions": []}, set(), set(), SCOPES),
        ({**AUTH0, "aud": API, "sub": "my_client_id@clients", "gty": "client-credentials",
          "scope": "generate read", "permissions": ["generate", "read"]}, SCOPES, SCOPES, SCOPES),
        # Entra ID
        ({**ENTRA_V2, "scp": "generate read"}, SCOPES, SCOPES, SCOPES),
        ({**ENTRA_V1, "scp": "read"}, {READ}, {READ}, SCOPES),
        ({**ENTRA_V2, "scp": "access_as_user"}, set(), set(), SCOPES),
        ({**ENTRA_V2, "scp": "access_as_user", "roles": ["generate"]},
         {GENERATE}, {GENERATE}, SCOPES),
        ({**ENTRA_V2, "scp": "read", "roles": ["generate"]}, {READ}, {READ}, SCOPES),
        ({**ENTRA_DAEMON, "roles": ["generate", "read"]}, SCOPES, SCOPES, SCOPES),
        (ENTRA_DAEMON, SCOPES, set(), SCOPES),
        # Firebase
        (FIREBASE_ID, SCOPES, set(), SCOPES),
        ({**FIREBASE_ID, "scope": "read"}, {READ}, {READ}, SCOPES),  # a custom claim
        # Keycloak
        ({**KEYCLOAK, "scope": "profile email generate"}, {GENERATE}, {GENERATE}, SCOPES),
        ({**KEYCLOAK, "scope": "profile email"}, set(), set(), SCOPES),
        ({**KEYCLOAK, "typ": "ID", "aud": MOBILE_APP}, SCOPES, set(), SCOPES),
        # Okta
        ({**OKTA, "scp": ["openid", "generate", "read"]}, SCOPES, SCOPES, SCOPES),
        ({**OKTA, "scp": ["openid", "offline_access"]}, set(), set(), SCOPES),
        # any issuer that follows RFC 9068
        ({**RFC_9068, "scope": "openid read"}, {READ}, {READ}, SCOPES),
    ],
)  # fmt: skip
def test_a_token_has_the_scopes_that_its_issuer_names(
    issuer: LoopbackIssuer,
    token: dict[str, Any],
    granted: set[str],
    required: set[str],
    ignored: set[str],
) -> None:
    signed = issuer.token(without="" if "aud" in token else "aud", **token)
    for use, scopes in zip(JwtScopes, (granted, required, ignored), strict=True):
        client = verifier(issuer, use).find(signed)
        assert client
        assert client.scopes == scopes


@pytest.mark.parametrize(
    "token",
    [
        pytest.param({**COGNITO_ACCESS, "client_id": "other"}, id="access token of another app"),
        pytest.param({**COGNITO_ID, "aud": "other"}, id="ID token of another app"),
        pytest.param({**COGNITO_ACCESS, "aud": "other"}, id="access token for another API"),
        pytest.param({**COGNITO_ACCESS, "token_use": "refresh"}, id="neither ID nor access"),
        pytest.param({**AUTH0, "aud": "my_client_id"}, id="Auth0's ID token"),
        pytest.param({**ENTRA_V2, "aud": "00000003-0000-0000-c000-000000000000"}, id="for Graph"),
        pytest.param({**FIREBASE_ID, "aud": "other-project"}, id="of another project"),
        pytest.param({**KEYCLOAK, "aud": "account"}, id="Keycloak without an audience mapper"),
        pytest.param({**KEYCLOAK, "typ": "Offline"}, id="Keycloak's refresh token"),
        pytest.param({**KEYCLOAK, "typ": "DPoP", "cnf": {"jkt": "x"}}, id="bound to a key"),
        pytest.param(
            {**KEYCLOAK, "typ": "Logout", "header": {"typ": "logout+jwt"}}, id="logout notice"
        ),
        pytest.param({**OKTA, "aud": "https://example.okta.com"}, id="Okta's own access token"),
    ],
)
def test_a_token_of_another_use_is_rejected(issuer: LoopbackIssuer, token: dict[str, Any]) -> None:
    signed = issuer.token(without="" if "aud" in token else "aud", **token)
    assert verifier(issuer, JwtScopes.IGNORED).find(signed) is None


def verifier(issuer: LoopbackIssuer, use: JwtScopes) -> JwtVerifier:
    audiences = (MOBILE_APP, API, ENTRA_API, f"api://{ENTRA_API}", FIREBASE)
    return JwtVerifier(jwts_of(issuer.url, *audiences, scopes=use))
