"""JWTs of an issuer on loopback: which ones identify a client, and as whom."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sd3.auth.jwt import JwtVerifier, client_id_of
from sd3.domain.client import CLIENT_ID, GENERATE, READ, SCOPES, Client, ClientLimits
from sd3.settings import JwtScopes
from tests.support.servers.jwt_issuer import AUDIENCE, LoopbackIssuer, ec_key, jwts_of, rsa_key


@pytest.fixture
def issuer() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as started:
        yield started


@pytest.fixture
def verifier(issuer: LoopbackIssuer) -> JwtVerifier:
    return verifying(issuer)


def verifying(issuer: LoopbackIssuer, *audiences: str, **settings: Any) -> JwtVerifier:
    return JwtVerifier(jwts_of(issuer.url, *audiences, **settings))


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_an_rs256_token_is_accepted(issuer: LoopbackIssuer, verifier: JwtVerifier) -> None:
    name = client_id_of(issuer.url, "user|7")
    assert verifier.find(issuer.token()) == Client(name, name, SCOPES, ClientLimits())


def test_an_es256_token_is_accepted(issuer: LoopbackIssuer, verifier: JwtVerifier) -> None:
    assert verifier.find(issuer.token(ec_key(), algorithm="ES256", header={"kid": "e1"}))


def test_without_more_settings_the_client_of_a_subject_is_what_it_always_was() -> None:
    """Its jobs and images are under this id."""
    assert client_id_of("https://i.example/", "user|7") == "jwt-71e870fb9dec819e1edf11b6af76e0a2"


def test_a_token_may_be_for_others_too(issuer: LoopbackIssuer, verifier: JwtVerifier) -> None:
    assert verifier.find(issuer.token(aud=["other", AUDIENCE]))


def test_clocks_may_differ_a_little(issuer: LoopbackIssuer, verifier: JwtVerifier) -> None:
    now = int(time.time())
    assert verifier.find(issuer.token(exp=now - 10, nbf=now + 10))


@pytest.mark.parametrize("subject", ["../../other", "a" * 5000, "Zoë 狐", "\ud800", "A", "a\n"])
def test_any_subject_has_a_name_that_is_safe_in_keys(
    issuer: LoopbackIssuer, verifier: JwtVerifier, subject: str
) -> None:
    client = verifier.find(issuer.token(sub=subject))
    assert client
    assert CLIENT_ID.fullmatch(client.client_id)
    assert client == verifier.find(issuer.token(sub=subject))
    assert client.client_id != client_id_of(issuer.url, "user|7")


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, SCOPES),
        ({"scope": "generate read"}, SCOPES),
        ({"scope": "openid read"}, {READ}),
        ({"scope": ["generate"]}, {GENERATE}),
        ({"scp": "generate"}, {GENERATE}),
        ({"scp": ["read", 7]}, {READ}),
        ({"scope": "read", "scp": "generate"}, {READ}),
        ({"scope": "openid profile"}, set()),
        ({"scope": "generated, READ"}, set()),
        ({"scope": ""}, set()),
        ({"scope": None}, SCOPES),
        ({"scope": None, "scp": "read"}, {READ}),
        ({"scope": 7}, set()),
        ({"scope": {"read": 1}}, set()),
        ({"permissions": ["generate", "read"]}, SCOPES),
        ({"permissions": []}, set()),
        ({"roles": ["read"]}, {READ}),
        ({"roles": ["admin"]}, set()),
        ({"permissions": ["read"], "roles": ["generate"]}, SCOPES),
        ({"scope": "openid", "permissions": ["read"]}, {READ}),
        ({"scope": "read", "permissions": ["generate", "read"]}, {READ}),
        ({"scp": "access_as_user", "roles": ["generate"]}, {GENERATE}),
        ({"scope": f"{AUDIENCE}/generate {AUDIENCE}/read"}, SCOPES),
        ({"scope": f"{AUDIENCE}/generated other/read other/sd3/read /read {AUDIENCE}:read"}, set()),
        ({"permissions": {"generate": 1}, "roles": [["read"], None]}, set()),
    ],
)
def test_scopes_are_those_that_the_issuer_granted(
    issuer: LoopbackIssuer, verifier: JwtVerifier, claims: dict[str, Any], scopes: set[str]
) -> None:
    client = verifier.find(issuer.token(**claims))
    assert client
    assert client.scopes == scopes


def test_an_operator_sees_that_a_token_may_do_nothing(
    issuer: LoopbackIssuer, verifier: JwtVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    client = verifier.find(issuer.token(scope="openid"))
    assert client
    assert caplog.messages == [f"JWT without a scope of this service: {client.client_id}"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"key": rsa_key("another")}, "InvalidSignatureError"),
        ({"aud": "other"}, "InvalidAudienceError"),
        ({"aud": ["other", "another"]}, "InvalidAudienceError"),
        ({"without": "aud"}, "MissingRequiredClaimError"),
        ({"iss": "https://other.example"}, "InvalidIssuerError"),
        ({"without": "iss"}, "MissingRequiredClaimError"),
        ({"exp": int(time.time()) - 60}, "ExpiredSignatureError"),
        ({"exp": "soon"}, "DecodeError"),
        ({"without": "exp"}, "MissingRequiredClaimError"),
        ({"nbf": int(time.time()) + 300}, "ImmatureSignatureError"),
        ({"without": "sub"}, "MissingRequiredClaimError"),
        ({"sub": ""}, "InvalidTokenError"),
        ({"sub": "x" * 9000}, "InvalidTokenError"),
        ({"header": {"kid": "r2"}}, "InvalidKeyError"),
        ({"header": {"kid": "e1"}}, "InvalidAlgorithmError"),
        ({"algorithm": "RS512"}, "InvalidAlgorithmError"),
        ({"algorithm": "PS256"}, "InvalidAlgorithmError"),
        ({"header": {"crit": ["x"], "x": 1}}, "InvalidTokenError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"aud": []}, "InvalidAudienceError"),
        ({"aud": {AUDIENCE: 1}}, "InvalidAudienceError"),
        ({"header": {"typ": "logout+jwt"}}, "InvalidTokenError"),
        ({"header": {"typ": "dpop+jwt"}}, "InvalidTokenError"),
        ({"header": {"typ": ["JWT"]}}, "InvalidTokenError"),
        ({"typ": "Refresh"}, "InvalidTokenError"),
        ({"typ": "Logout"}, "InvalidTokenError"),
        ({"token_use": "refresh"}, "InvalidTokenError"),
        ({"token_use": ["access"]}, "InvalidTokenError"),
        ({"token_use": None}, "InvalidTokenError"),
        ({"cnf": {"jkt": "x"}}, "InvalidTokenError"),
        ({"events": {}}, "InvalidTokenError"),
        # client_id is an audience only in an access token of Cognito's, and only without aud
        ({"without": "aud", "client_id": AUDIENCE}, "MissingRequiredClaimError"),
        ({"without": "aud", "client_id": AUDIENCE, "token_use": "id"}, "MissingRequiredClaimError"),
        ({"without": "aud", "azp": AUDIENCE, "token_use": "access"}, "MissingRequiredClaimError"),
        ({"without": "aud", "client_id": "other", "token_use": "access"}, "InvalidAudienceError"),
        ({"aud": "other", "client_id": AUDIENCE, "token_use": "access"}, "InvalidAudienceError"),
        ({"aud": None, "client_id": AUDIENCE, "token_use": "access"}, "MissingRequiredClaimError"),
    ],
)
def test_an_invalid_token_is_rejected_and_its_reason_logged(
    issuer: LoopbackIssuer,
    verifier: JwtVerifier,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, Any],
    reason: str,
) -> None:
    token = issuer.token(**wrong)
    assert verifier.find(token) is None
    assert caplog.messages == [f"JWT rejected: {reason}"]
    assert token not in caplog.text


def test_a_token_without_a_signature_is_rejected(
    issuer: LoopbackIssuer, verifier: JwtVerifier
) -> None:
    claims = issuer.token().split(".")[1]
    for alg in ("none", "None", "NONE"):
        header = segment({"alg": alg, "typ": "JWT", "kid": "r1"})
        for signature in ("", "AAAA"):
            assert verifier.find(f"{header}.{claims}.{signature}") is None
    assert not issuer.requests


def test_a_token_signed_with_the_public_key_as_a_secret_is_rejected(
    issuer: LoopbackIssuer, verifier: JwtVerifier
) -> None:
    public = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("HS256", "RS256"):
        header = segment({"alg": algorithm, "typ": "JWT", "kid": "r1"})
        signed = f"{header}.{issuer.token().split('.')[1]}"
        digest = hmac.new(public, signed.encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert verifier.find(f"{signed}.{signature}") is None


def test_a_token_whose_claims_were_changed_is_rejected(
    issuer: LoopbackIssuer, verifier: JwtVerifier
) -> None:
    header, _, signature = issuer.token(sub="mallory").split(".")
    claims = issuer.token(sub="alice").split(".")[1]
    assert verifier.find(f"{header}.{claims}.{signature}") is None


@pytest.mark.parametrize(
    "token",
    [
        "..", "a.b.c", "é.é.é", "", "x", "a.b", "a.b.c.d", "." * 100, "A" * 9000 + ".b.c",
        segment([]) + ".e30.x", segment({}) + ".e30.x", segment({"alg": "RS256"}) + ".e30.x",
        segment({"alg": "RS256", "kid": 7}) + ".e30.x", segment({"alg": ["RS256"]}) + ".e30.x",
        segment({"alg": "RS256", "kid": "r1"}) + ".e30.x",
        segment({"alg": "ES256", "kid": "e1"}) + "." + segment([]) + ".AAAA",
        base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.x",
    ],
)  # fmt: skip
def test_garbage_is_rejected(verifier: JwtVerifier, token: str) -> None:
    assert verifier.find(token) is None


@pytest.mark.parametrize(
    ("claims", "required", "ignored"),
    [
        ({}, set(), SCOPES),
        ({"scope": "openid email"}, set(), SCOPES),
        ({"scope": "openid read"}, {READ}, SCOPES),
    ],
)
def test_an_operator_decides_what_scopes_count(
    issuer: LoopbackIssuer, claims: dict[str, Any], required: set[str], ignored: set[str]
) -> None:
    for use, scopes in ((JwtScopes.REQUIRED, required), (JwtScopes.IGNORED, ignored)):
        client = verifying(issuer, scopes=use).find(issuer.token(**claims))
        assert client
        assert client.scopes == scopes


@pytest.mark.parametrize(
    ("audience", "scope"),
    [("sd3", "sd3/read"), ("https://sd3.example", "https://sd3.example/read"),
     ("https://sd3.example/", "https://sd3.example/read"), ("api://7c1e", "api://7c1e/read")],
)  # fmt: skip
def test_a_scope_may_have_any_audience_in_front_of_it(
    issuer: LoopbackIssuer, audience: str, scope: str
) -> None:
    client = verifying(issuer, AUDIENCE, audience).find(issuer.token(scope=scope))
    assert client
    assert client.scopes == {READ}


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, None),
        ({"email": "anna.b+1@example.com"}, "anna.b+1@example.com"),
        ({"email": 'a"}\n{"client_id":"acme\\'}, "a-client_id-acme"),
        ({"email": "Zoë 狐"}, "Zo"),
        ({"email": "狐"}, None),
        ({"email": "x" * 100}, "x" * 64),
        ({"email": ["a@b.example"]}, None),
        ({"email": None}, None),
    ],
)
def test_a_name_is_shown_in_letters_that_logs_can_hold(
    issuer: LoopbackIssuer, claims: dict[str, Any], name: str | None
) -> None:
    client = verifying(issuer, name_claim="email").find(issuer.token(**claims))
    assert client
    assert client.display_name == name
    assert client.client_id == client_id_of(issuer.url, "user|7")


def test_every_client_with_a_jwt_has_the_limits_of_them_all(issuer: LoopbackIssuer) -> None:
    limits = ClientLimits(1, 2, 3, 4)
    client = verifying(issuer, **limits._asdict()).find(issuer.token())
    assert client
    assert client.limits == limits
