"""JWTs of an issuer on loopback: who is let in, and what the issuer is asked."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sd3.auth.jwks import JwksClient
from sd3.auth.jwt import JwtVerifier, client_id_of
from sd3.domain.client import CLIENT_ID, GENERATE, READ, SCOPES, Client, ClientLimits
from sd3.errors import IssuerError
from tests.unit.issuing import (
    AUDIENCE,
    DISCOVERY,
    ELSEWHERE,
    JWKS,
    LoopbackIssuer,
    ec_key,
    jwk,
    page,
    rsa_key,
)
from tests.unit.upstreams.calling import FakeTime
from tests.unit.upstreams.misbehaving import Reply, answer, dripping, head, raw

LARGE = 10_000_000


@pytest.fixture
def server() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as server:
        yield server


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def issuer(server: LoopbackIssuer, clock: FakeTime) -> JwtVerifier:
    keys = JwksClient(server.url, clock=clock.clock)
    return JwtVerifier(server.url, audience=AUDIENCE, keys=keys)


def paths(server: LoopbackIssuer) -> list[str]:
    return [request.path for request in server.requests]


def segment(said: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()


# ---- Tokens --------------------------------------------------------------------------------------


def test_an_rs256_token_is_let_in(server: LoopbackIssuer, issuer: JwtVerifier) -> None:
    name = client_id_of(server.url, "user|7")
    assert issuer.find(server.token()) == Client(name, name, SCOPES, ClientLimits())


def test_an_es256_token_is_let_in(server: LoopbackIssuer, issuer: JwtVerifier) -> None:
    assert issuer.find(server.token(ec_key(), algorithm="ES256", header={"kid": "e1"}))


def test_a_token_may_be_for_others_too(server: LoopbackIssuer, issuer: JwtVerifier) -> None:
    assert issuer.find(server.token(aud=["other", AUDIENCE]))


def test_clocks_may_differ_a_little(server: LoopbackIssuer, issuer: JwtVerifier) -> None:
    now = int(time.time())
    assert issuer.find(server.token(exp=now - 10, nbf=now + 10))


@pytest.mark.parametrize("subject", ["../../other", "a" * 5000, "Zoë 狐", "\ud800", "A", "a\n"])
def test_any_subject_has_a_name_that_is_safe_in_keys(
    server: LoopbackIssuer, issuer: JwtVerifier, subject: str
) -> None:
    client = issuer.find(server.token(sub=subject))
    assert client
    assert CLIENT_ID.fullmatch(client.client_id)
    assert client == issuer.find(server.token(sub=subject))
    assert client.client_id != client_id_of(server.url, "user|7")


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
    ],
)
def test_scopes_are_those_that_the_issuer_granted(
    server: LoopbackIssuer, issuer: JwtVerifier, claims: dict[str, Any], scopes: set[str]
) -> None:
    client = issuer.find(server.token(**claims))
    assert client
    assert client.scopes == scopes


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
    ],
)
def test_a_token_that_is_wrong_is_refused_and_its_reason_logged(
    server: LoopbackIssuer,
    issuer: JwtVerifier,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, Any],
    reason: str,
) -> None:
    token = server.token(**wrong)
    assert issuer.find(token) is None
    assert caplog.messages == [f"JWT refused: {reason}"]
    assert token not in caplog.text


def test_a_token_without_a_signature_is_refused(
    server: LoopbackIssuer, issuer: JwtVerifier
) -> None:
    claims = server.token().split(".")[1]
    for alg in ("none", "None", "NONE"):
        header = segment({"alg": alg, "typ": "JWT", "kid": "r1"})
        for signature in ("", "AAAA"):
            assert issuer.find(f"{header}.{claims}.{signature}") is None
    assert not server.requests


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    server: LoopbackIssuer, issuer: JwtVerifier
) -> None:
    public = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("HS256", "RS256"):
        header = segment({"alg": algorithm, "typ": "JWT", "kid": "r1"})
        signed = f"{header}.{server.token().split('.')[1]}"
        digest = hmac.new(public, signed.encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert issuer.find(f"{signed}.{signature}") is None


def test_a_token_whose_claims_were_changed_is_refused(
    server: LoopbackIssuer, issuer: JwtVerifier
) -> None:
    header, _, signature = server.token(sub="mallory").split(".")
    claims = server.token(sub="alice").split(".")[1]
    assert issuer.find(f"{header}.{claims}.{signature}") is None


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
def test_garbage_is_refused(issuer: JwtVerifier, token: str) -> None:
    assert issuer.find(token) is None


def test_an_issuer_needs_an_audience(server: LoopbackIssuer) -> None:
    with pytest.raises(ValueError, match="audience"):
        JwtVerifier(server.url, audience="")


# ---- Keys ----------------------------------------------------------------------------------------


def test_keys_are_kept_for_an_hour(
    server: LoopbackIssuer, issuer: JwtVerifier, clock: FakeTime
) -> None:
    for _ in range(3):
        assert issuer.find(server.token())
        clock.now += 1700
    assert paths(server) == [DISCOVERY, ELSEWHERE]
    clock.now += 200
    assert issuer.find(server.token())
    assert paths(server) == [DISCOVERY, ELSEWHERE] * 2


def test_a_key_that_is_withdrawn_is_forgotten_within_the_hour(
    server: LoopbackIssuer, issuer: JwtVerifier, clock: FakeTime
) -> None:
    assert issuer.find(server.token())
    server.publish(jwk("e1", ec_key()))
    clock.now += 3600
    assert issuer.find(server.token()) is None


def test_a_new_key_is_found_and_unknown_ones_are_asked_for_once_a_minute(
    server: LoopbackIssuer, issuer: JwtVerifier, clock: FakeTime
) -> None:
    assert issuer.find(server.token())
    new = rsa_key("new")
    server.publish(jwk("r2", new))
    clock.now += 60
    assert issuer.find(server.token(new, header={"kid": "r2"}))
    assert len(server.requests) == 4
    for kid in ("r3", "r4", "r5"):
        assert issuer.find(server.token(header={"kid": kid})) is None
    assert len(server.requests) == 4
    clock.now += 60
    for kid in ("r3", "r4", "r5"):
        assert issuer.find(server.token(header={"kid": kid})) is None
    assert len(server.requests) == 6


def test_an_unknown_key_is_no_verdict_while_the_issuer_is_down(
    server: LoopbackIssuer, issuer: JwtVerifier, clock: FakeTime
) -> None:
    assert issuer.find(server.token())
    server.pages[DISCOVERY] = answer(503)
    clock.now += 60
    for _ in range(2):
        with pytest.raises(IssuerError):
            issuer.find(server.token(header={"kid": "r2"}))
    assert len(server.requests) == 3
    assert issuer.find(server.token())  # what is known still counts


def test_without_discovery_the_keys_are_at_the_usual_place(
    server: LoopbackIssuer, issuer: JwtVerifier
) -> None:
    server.pages = {JWKS: server.pages[ELSEWHERE]}
    assert issuer.find(server.token())
    assert paths(server) == [DISCOVERY, JWKS]


def test_an_issuer_may_end_with_a_slash(server: LoopbackIssuer) -> None:
    url = server.url + "/"
    server.pages[DISCOVERY] = page({"issuer": url, "jwks_uri": server.url + ELSEWHERE})
    assert JwtVerifier(url, audience=AUDIENCE).find(server.token(iss=url))
    assert JwtVerifier(url, audience=AUDIENCE).find(server.token()) is None
    assert paths(server) == [DISCOVERY, ELSEWHERE] * 2


@pytest.mark.parametrize(
    "reply",
    [
        answer(500),
        answer(429),
        answer(404),
        answer(302, location=ELSEWHERE),
        answer(200, b""),
        answer(200, b"no json"),
        answer(200, b"[]"),
        answer(200, b"[" * 200_000),
        answer(200, b'{"error": "x"}'),
        answer(200, b'{"keys": {}}'),
        answer(200, b'{"keys": "x"}'),
        answer(200, b'{"keys": []}' + b" " * LARGE),
        raw(head(200) + b" " * LARGE),
        raw(head(200, content_length="8") + b"{"),
        raw(b"nonsense\r\n\r\n"),
        raw(b""),
    ],
)
def test_an_issuer_that_says_nothing_of_use_is_no_verdict(
    server: LoopbackIssuer, issuer: JwtVerifier, reply: Reply
) -> None:
    server.pages[ELSEWHERE] = reply
    with pytest.raises(IssuerError):
        issuer.find(server.token())
    assert paths(server) == [DISCOVERY, ELSEWHERE]


def test_an_issuer_that_answers_for_ever_is_no_verdict(
    server: LoopbackIssuer, issuer: JwtVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sd3.auth.jwks._SECONDS", 0.3)
    server.pages[ELSEWHERE] = dripping(head(200) + b" " * 100_000)
    with pytest.raises(IssuerError):
        issuer.find(server.token())


def test_an_issuer_that_is_not_there_is_no_verdict() -> None:
    with LoopbackIssuer() as server:
        token, issuer = server.token(), JwtVerifier(server.url, audience=AUDIENCE)
    with pytest.raises(IssuerError):
        issuer.find(token)


@pytest.mark.parametrize(
    ("issuer_said", "jwks_uri"),
    [
        ("https://other.example", None),
        (None, "http://keys.example/jwks"),
        (None, "ftp://127.0.0.1/jwks"),
        (None, "https://user:x@keys.example/jwks"),
        (None, 7),
        (None, ""),
    ],
)
def test_a_discovery_that_leads_elsewhere_is_no_verdict(
    server: LoopbackIssuer, issuer: JwtVerifier, issuer_said: str | None, jwks_uri: object
) -> None:
    server.pages[DISCOVERY] = page(
        {
            "issuer": issuer_said or server.url,
            "jwks_uri": server.url + ELSEWHERE if jwks_uri is None else jwks_uri,
        }
    )
    with pytest.raises(IssuerError):
        issuer.find(server.token())
    assert paths(server) == [DISCOVERY]


@pytest.mark.parametrize("keys", [[], [7], [None], [{}]])
def test_a_set_of_no_keys_knows_no_token(
    server: LoopbackIssuer, issuer: JwtVerifier, keys: object
) -> None:
    server.pages[ELSEWHERE] = page({"keys": keys})
    assert issuer.find(server.token()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "RSA-OAEP"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kid": 7},
        {"kid": None},
        {"n": "!"},
        {"n": 7},
        {"n": ""},
        {"e": None},
        {"e": "AA"},
    ],
)
def test_a_key_that_is_for_something_else_is_passed_over(
    server: LoopbackIssuer, issuer: JwtVerifier, change: dict[str, Any]
) -> None:
    server.publish(jwk("r1", rsa_key()) | change, jwk("e1", ec_key()))
    assert issuer.find(server.token()) is None
    assert issuer.find(server.token(ec_key(), algorithm="ES256", header={"kid": "e1"}))


def test_weak_keys_and_other_curves_are_refused(
    server: LoopbackIssuer, issuer: JwtVerifier
) -> None:
    weak, other = rsa_key("weak", bits=1024), ec.generate_private_key(ec.SECP384R1())
    server.publish(jwk("r1", weak), jwk("e1", other), jwk("e2", other, crv="P-256"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        signed = server.token(weak)
    assert issuer.find(signed) is None
    for kid in ("e1", "e2"):
        forged = server.token(ec_key(), algorithm="ES256", header={"kid": kid})
        assert issuer.find(forged) is None


@pytest.mark.parametrize("url", ["", "issuer", "http://issuer.example", "https://x.example/?a=1"])
def test_an_issuer_that_cannot_be_asked_safely_is_no_setting(url: str) -> None:
    with pytest.raises(ValueError, match="the issuer of JWTs"):
        JwtVerifier(url, audience=AUDIENCE)
