"""The authorizer function, through its event, against DynamoDB by moto."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.authorizer import app
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.auth.jwt import client_id_of
from sd3.bootstrap import clients, jwt_verifier
from sd3.domain.client import READ
from sd3.errors import IssuerError, StorageError
from tests.support.servers.jwt_issuer import AUDIENCE, DISCOVERY, LoopbackIssuer
from tests.support.servers.scripted_server import http_reply as reply

EVENT = Path(__file__).parents[2] / "events/authorizer.json"
TABLE = "clients"
API = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenStore]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "CLIENTS_TABLE": TABLE,
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "token_sha256", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "token_sha256", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for cached in (clients, jwt_verifier):
            cached.cache_clear()
        yield TokenStore(dynamodb, TABLE)
        for cached in (clients, jwt_verifier):
            cached.cache_clear()


@pytest.fixture
def signing(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackIssuer]:
    """Provide an issuer whose JWTs are accepted."""
    with LoopbackIssuer() as server:
        monkeypatch.setenv("JWT_ISSUER", server.url)
        monkeypatch.setenv("JWT_AUDIENCE", AUDIENCE)
        yield server


def authorize(authorization: str | None = None) -> dict[str, Any]:
    event = json.loads(EVENT.read_text())
    if authorization is not None:
        event["authorizationToken"] = authorization
    http_reply: dict[str, Any] = app.handler(event, None)
    return http_reply


def effect(http_reply: dict[str, Any]) -> str:
    [statement] = http_reply["policyDocument"]["Statement"]
    return str(statement["Effect"])


def test_a_client_may_call_every_route_of_the_stage(store: TokenStore) -> None:
    http_reply = authorize(f"Bearer {store.issue('demo')}")
    assert http_reply["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{API}/v1/*"}
    ]
    assert http_reply["principalId"] == "demo"
    assert http_reply["context"] == {"client_id": "demo", "scopes": "generate read"}


def test_the_functions_get_the_permissions_of_the_client(store: TokenStore) -> None:
    limits = {"daily_budget_micros": 5_000_000, "requests_per_minute": 60, "max_images": 4}
    token = store.issue("demo", scopes=frozenset([READ]), limits=limits)
    assert authorize(f"Bearer {token}")["context"] == {
        "client_id": "demo",
        "scopes": "read",
        "daily_budget_micros": "5000000",
        "requests_per_minute": "60",
        "max_images": "4",
    }


def test_a_token_of_before_there_were_scopes_works_as_it_did(store: TokenStore) -> None:
    token = "sd3_" + "o" * 43
    boto3.client("dynamodb").put_item(
        TableName=TABLE,
        Item={
            "token_sha256": {"S": hashlib.sha256(token.encode()).hexdigest()},
            "client_id": {"S": "old"},
            "name": {"S": "Old"},
            "created_at": {"S": "2026-11-23T12:00:00.123456+00:00"},
        },
    )
    http_reply = authorize(f"Bearer {token}")
    assert effect(http_reply) == "Allow"
    assert http_reply["context"] == {"client_id": "old", "scopes": "generate read"}


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "bEaReR ", "Bearer    "])
def test_the_scheme_may_be_in_any_case_and_before_any_number_of_spaces(
    store: TokenStore, scheme: str
) -> None:
    assert effect(authorize(scheme + store.issue("demo"))) == "Allow"


NO_BEARER_TOKENS = (
        "{}", "Bearer{}", " Bearer {}", "Bearer {} ", "Bearer {} {}", "Bearer {},", "Bearer {}\t",
        "Bearer\t{}", "Bearer \t{}", "Bearer\u00a0{}", "Bearer\n{}", "Bearer {}\n", "Bearer: {}",
        "Bearer Bearer {}", 'Bearer "{}"', "Bearer token={}", "Bearer {}=",
        "\u0432earer {}", "Bearers {}", "Bear {}",
)  # fmt: skip


def test_what_is_no_bearer_token_by_the_standard_is_denied(
    signing: LoopbackIssuer, store: TokenStore
) -> None:
    for token in (store.issue("demo"), signing.token()):
        assert effect(authorize(f"Bearer {token}")) == "Allow"
        accepted = [
            form
            for form in NO_BEARER_TOKENS
            if effect(authorize(form.format(token, token))) == "Allow"
        ]
        assert accepted == []


@pytest.mark.parametrize("authorization", [None, "Bearer ", "", "Bearer sd3_short", "x"])
def test_an_unknown_token_is_denied(store: TokenStore, authorization: str | None) -> None:
    http_reply = authorize(authorization)
    assert effect(http_reply) == "Deny"
    assert http_reply["context"] == {}


@pytest.mark.parametrize("event", [{"source": "serverless-plugin-warmup"}, {}, None, "warm", []])
def test_an_event_of_nobody_is_denied_and_raises_nothing(store: TokenStore, event: Any) -> None:
    [statement] = app.handler(event, None)["policyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"


def test_a_token_under_another_scheme_is_denied(store: TokenStore) -> None:
    assert effect(authorize(f"Basic {store.issue('demo')}")) == "Deny"


def test_a_revoked_token_is_denied(store: TokenStore) -> None:
    token = store.issue("demo")
    assert effect(authorize(f"Bearer {token}")) == "Allow"
    store.revoke("demo")
    assert effect(authorize(f"Bearer {token}")) == "Deny"


def test_an_expired_token_is_denied(store: TokenStore) -> None:
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    old = TokenStore(boto3.client("dynamodb"), TABLE, now=lambda: long_ago)
    token = old.issue("demo", expires_at=long_ago + timedelta(days=30))
    assert effect(authorize(f"Bearer {token}")) == "Deny"


def test_tokens_are_rotated_without_a_gap(store: TokenStore) -> None:
    old, new = store.issue("demo"), store.issue("demo")
    assert [effect(authorize(f"Bearer {token}")) for token in (old, new)] == ["Allow"] * 2
    store.revoke("demo", hashlib.sha256(old.encode()).hexdigest()[:8])
    assert [effect(authorize(f"Bearer {token}")) for token in (old, new)] == ["Deny", "Allow"]


def test_a_table_that_cannot_be_read_is_no_verdict(store: TokenStore) -> None:
    boto3.client("dynamodb").delete_table(TableName=TABLE)
    with pytest.raises(StorageError):
        authorize()


# ---- JWTs ----------------------------------------------------------------------------------------


def test_a_token_of_the_issuer_is_accepted(signing: LoopbackIssuer) -> None:
    http_reply = authorize(f"Bearer {signing.token(scope='openid generate')}")
    name = client_id_of(signing.url, "user|7")
    assert effect(http_reply) == "Allow"
    assert http_reply["principalId"] == name
    assert http_reply["context"] == {"client_id": name, "scopes": "generate"}


def test_our_own_tokens_work_beside_jwts(signing: LoopbackIssuer, store: TokenStore) -> None:
    assert authorize(f"Bearer {store.issue('demo')}")["context"]["client_id"] == "demo"
    assert not signing.requests


def test_the_functions_get_the_limits_of_clients_with_jwts(
    signing: LoopbackIssuer, store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {
        "JWT_DAILY_BUDGET": "0.50",
        "JWT_TOTAL_DAILY_BUDGET": "20",
        "JWT_REQUESTS_PER_MINUTE": "6",
        "JWT_MAX_IMAGES": "2",
        "JWT_NAME_CLAIM": "email",
    }.items():
        monkeypatch.setenv(variable, value)
    assert authorize(f"Bearer {signing.token(email='anna@example.com')}")["context"] == {
        "client_id": client_id_of(signing.url, "user|7"),
        "client_name": "anna@example.com",
        "scopes": "generate read",
        "daily_budget_micros": "500000",
        "total_daily_budget_micros": "20000000",
        "requests_per_minute": "6",
        "max_images": "2",
    }
    own = authorize(f"Bearer {store.issue('demo')}")["context"]
    assert own == {"client_id": "demo", "scopes": "generate read"}


def test_a_setting_that_is_wrong_stops_jwts(
    signing: LoopbackIssuer, store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_DAILY_BUDGET", "5 dollars")
    with pytest.raises(ValueError, match="JWT_DAILY_BUDGET must be dollars"):
        authorize(f"Bearer {signing.token()}")
    assert effect(authorize(f"Bearer {store.issue('demo')}")) == "Allow"


@pytest.mark.parametrize("wrong", [{"aud": "other"}, {"exp": 1}, {"header": {"kid": "x"}}])
def test_a_bad_jwt_is_denied(signing: LoopbackIssuer, wrong: dict[str, Any]) -> None:
    http_reply = authorize(f"Bearer {signing.token(**wrong)}")
    assert (effect(http_reply), http_reply["context"]) == ("Deny", {})


def test_an_issuer_that_is_down_is_no_verdict(signing: LoopbackIssuer) -> None:
    signing.pages = {DISCOVERY: reply(503)}
    with pytest.raises(IssuerError):
        authorize(f"Bearer {signing.token()}")


def test_without_an_issuer_a_jwt_is_denied(
    signing: LoopbackIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "")
    assert effect(authorize(f"Bearer {signing.token()}")) == "Deny"


def test_what_only_a_jwt_needs_is_not_imported() -> None:
    code = "import sys, functions.authorizer.app as app; app.clients(); print(*sorted(sys.modules))"
    path = ":".join(sys.path)
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path, "AWS_DEFAULT_REGION": "eu-central-1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    loaded = set(done.stdout.decode().split())
    assert "sd3.adapters.dynamodb.tokens" in loaded
    assert not loaded & {"jwt", "cryptography", "requests", "pydantic", "sd3.auth.jwt"}
