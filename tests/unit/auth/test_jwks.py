"""The keys of an issuer on loopback: which ones are used, and how often they are fetched."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sd3.auth.jwks import JwksClient
from sd3.auth.jwt import JwtVerifier
from sd3.errors import IssuerError
from tests.support.factories.http_caller import FakeTime
from tests.support.servers.jwt_issuer import (
    DISCOVERY,
    ELSEWHERE,
    JWKS,
    LoopbackIssuer,
    ec_key,
    jwk,
    jwts_of,
    page,
    rsa_key,
)
from tests.support.servers.scripted_server import Reply, dripping, head, http_reply, raw

LARGE = 10_000_000


@pytest.fixture
def issuer() -> Iterator[LoopbackIssuer]:
    with LoopbackIssuer() as started:
        yield started


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Provide a clock of ours and of PyJWT's cache."""
    clock = FakeTime()
    for module in ("jwt.api_jwk", "jwt.jwk_set_cache"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=clock.clock))
    return clock


@pytest.fixture
def verifier(issuer: LoopbackIssuer, clock: FakeTime) -> JwtVerifier:
    jwks = JwksClient(issuer.url, clock=clock.clock)
    return JwtVerifier(jwts_of(issuer.url), jwks=jwks)


def paths(issuer: LoopbackIssuer) -> list[str]:
    return [request.path for request in issuer.requests]


def test_keys_are_cached_for_an_hour(
    issuer: LoopbackIssuer, verifier: JwtVerifier, clock: FakeTime
) -> None:
    for _ in range(3):
        assert verifier.find(issuer.token())
        clock.now += 1700
    assert paths(issuer) == [DISCOVERY, ELSEWHERE]
    clock.now += 200
    assert verifier.find(issuer.token())
    assert paths(issuer) == [DISCOVERY, ELSEWHERE] * 2


def test_a_key_that_is_withdrawn_is_forgotten_within_the_hour(
    issuer: LoopbackIssuer, verifier: JwtVerifier, clock: FakeTime
) -> None:
    assert verifier.find(issuer.token())
    issuer.publish(jwk("e1", ec_key()))
    clock.now += 3601
    assert verifier.find(issuer.token()) is None


def test_a_new_key_is_fetched_and_unknown_ones_once_a_minute_at_most(
    issuer: LoopbackIssuer, verifier: JwtVerifier, clock: FakeTime
) -> None:
    assert verifier.find(issuer.token())
    new = rsa_key("new")
    issuer.publish(jwk("r2", new))
    clock.now += 60
    assert verifier.find(issuer.token(new, header={"kid": "r2"}))
    assert len(issuer.requests) == 4
    for kid in ("r3", "r4", "r5"):
        assert verifier.find(issuer.token(header={"kid": kid})) is None
    assert len(issuer.requests) == 4
    clock.now += 60
    for kid in ("r3", "r4", "r5"):
        assert verifier.find(issuer.token(header={"kid": kid})) is None
    assert len(issuer.requests) == 6


def test_an_unknown_key_is_no_verdict_while_the_issuer_is_down(
    issuer: LoopbackIssuer, verifier: JwtVerifier, clock: FakeTime
) -> None:
    assert verifier.find(issuer.token())
    issuer.pages[DISCOVERY] = http_reply(503)
    clock.now += 60
    for _ in range(2):
        with pytest.raises(IssuerError):
            verifier.find(issuer.token(header={"kid": "r2"}))
    assert len(issuer.requests) == 3
    assert verifier.find(issuer.token())  # what is known still counts


def test_without_discovery_the_keys_have_the_usual_path(
    issuer: LoopbackIssuer, verifier: JwtVerifier
) -> None:
    issuer.pages = {JWKS: issuer.pages[ELSEWHERE]}
    assert verifier.find(issuer.token())
    assert paths(issuer) == [DISCOVERY, JWKS]


def test_an_issuer_may_end_with_a_slash(issuer: LoopbackIssuer) -> None:
    url = issuer.url + "/"
    issuer.pages[DISCOVERY] = page({"issuer": url, "jwks_uri": issuer.url + ELSEWHERE})
    assert JwtVerifier(jwts_of(url)).find(issuer.token(iss=url))
    assert JwtVerifier(jwts_of(url)).find(issuer.token()) is None
    assert paths(issuer) == [DISCOVERY, ELSEWHERE] * 2


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        pytest.param(
            "/us-east-1_EXAMPLE", "/us-east-1_EXAMPLE/.well-known/jwks.json", id="Cognito"
        ),
        pytest.param("/72f988bf/v2.0", "/72f988bf/discovery/v2.0/keys", id="Entra ID"),
        pytest.param("/realms/demo", "/realms/demo/protocol/openid-connect/certs", id="Keycloak"),
        pytest.param("/oauth2/default", "/oauth2/default/v1/keys", id="Okta"),
        pytest.param("/my-project", "/jwk/securetoken@system.gserviceaccount.com", id="Firebase"),
    ],
)
def test_an_issuer_may_have_a_path(issuer: LoopbackIssuer, path: str, keys: str) -> None:
    url = issuer.url + path
    discovered = {"issuer": url, "jwks_uri": issuer.url + keys}
    issuer.pages = {
        path + DISCOVERY: page(discovered),
        keys: page({"keys": [jwk("r1", rsa_key())]}),
    }
    assert JwtVerifier(jwts_of(url)).find(issuer.token(iss=url))


@pytest.mark.parametrize(
    "reply",
    [
        http_reply(500),
        http_reply(429),
        http_reply(404),
        http_reply(302, location=ELSEWHERE),
        http_reply(200, b""),
        http_reply(200, b"no json"),
        http_reply(200, b"[]"),
        http_reply(200, b"[" * 200_000),
        http_reply(200, b'{"error": "x"}'),
        http_reply(200, b'{"keys": {}}'),
        http_reply(200, b'{"keys": "x"}'),
        http_reply(200, b'{"keys": []}' + b" " * LARGE),
        raw(head(200) + b" " * LARGE),
        raw(head(200, content_length="8") + b"{"),
        raw(b"nonsense\r\n\r\n"),
        raw(b""),
    ],
)
def test_an_issuer_with_an_unusable_response_is_no_verdict(
    issuer: LoopbackIssuer, verifier: JwtVerifier, reply: Reply
) -> None:
    issuer.pages[ELSEWHERE] = reply
    with pytest.raises(IssuerError):
        verifier.find(issuer.token())
    assert paths(issuer) == [DISCOVERY, ELSEWHERE]


def test_an_issuer_that_responds_without_end_is_no_verdict(
    issuer: LoopbackIssuer, verifier: JwtVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sd3.auth.jwks._SECONDS", 0.3)
    issuer.pages[ELSEWHERE] = dripping(head(200) + b" " * 100_000)
    with pytest.raises(IssuerError):
        verifier.find(issuer.token())


def test_an_issuer_that_is_not_there_is_no_verdict() -> None:
    with LoopbackIssuer() as issuer:
        token, verifier = issuer.token(), JwtVerifier(jwts_of(issuer.url))
    with pytest.raises(IssuerError):
        verifier.find(token)


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
    issuer: LoopbackIssuer, verifier: JwtVerifier, issuer_said: str | None, jwks_uri: object
) -> None:
    issuer.pages[DISCOVERY] = page(
        {
            "issuer": issuer_said or issuer.url,
            "jwks_uri": issuer.url + ELSEWHERE if jwks_uri is None else jwks_uri,
        }
    )
    with pytest.raises(IssuerError):
        verifier.find(issuer.token())
    assert paths(issuer) == [DISCOVERY]


@pytest.mark.parametrize("keys", [[], [7], [None], [{}]])
def test_an_empty_key_set_accepts_no_token(
    issuer: LoopbackIssuer, verifier: JwtVerifier, keys: object
) -> None:
    issuer.pages[ELSEWHERE] = page({"keys": keys})
    assert verifier.find(issuer.token()) is None


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
    issuer: LoopbackIssuer, verifier: JwtVerifier, change: dict[str, Any]
) -> None:
    issuer.publish(jwk("r1", rsa_key()) | change, jwk("e1", ec_key()))
    assert verifier.find(issuer.token()) is None
    assert verifier.find(issuer.token(ec_key(), algorithm="ES256", header={"kid": "e1"}))


def test_weak_keys_and_other_curves_are_rejected(
    issuer: LoopbackIssuer, verifier: JwtVerifier
) -> None:
    weak, other = rsa_key("weak", bits=1024), ec.generate_private_key(ec.SECP384R1())
    issuer.publish(jwk("r1", weak), jwk("e1", other), jwk("e2", other, crv="P-256"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        signed = issuer.token(weak)
    assert verifier.find(signed) is None
    for kid in ("e1", "e2"):
        forged = issuer.token(ec_key(), algorithm="ES256", header={"kid": kid})
        assert verifier.find(forged) is None


@pytest.mark.parametrize("url", ["", "issuer", "http://issuer.example", "https://x.example/?a=1"])
def test_an_issuer_that_cannot_be_called_safely_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="the issuer of JWTs"):
        JwtVerifier(jwts_of(url))
