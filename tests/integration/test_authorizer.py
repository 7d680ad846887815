"""The authorizer function, through its event, against DynamoDB by moto."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.authorizer import app
from sd3.clients import ClientStore, clients
from sd3.errors import StorageError

EVENT = Path(__file__).parents[2] / "events/authorizer.json"
TABLE = "clients"
API = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientStore]:
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
        clients.cache_clear()
        yield ClientStore(dynamodb, TABLE)
        clients.cache_clear()


def authorize(authorization: str | None = None) -> dict[str, Any]:
    event = json.loads(EVENT.read_text())
    if authorization is not None:
        event["authorizationToken"] = authorization
    answer: dict[str, Any] = app.handler(event, None)
    return answer


def effect(answer: dict[str, Any]) -> str:
    [statement] = answer["policyDocument"]["Statement"]
    return str(statement["Effect"])


def test_a_client_may_call_every_route_of_the_stage(store: ClientStore) -> None:
    answer = authorize(f"Bearer {store.issue('demo', 'Demo')}")
    assert answer["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{API}/v1/*"}
    ]
    assert answer["principalId"] == "demo"
    assert answer["context"] == {"client_id": "demo"}


def test_the_scheme_may_be_written_in_lower_case(store: ClientStore) -> None:
    assert effect(authorize(f"bearer {store.issue('demo', 'Demo')}")) == "Allow"


@pytest.mark.parametrize("authorization", [None, "Bearer ", "", "Bearer sd3_short", "x"])
def test_an_unknown_token_is_denied(store: ClientStore, authorization: str | None) -> None:
    answer = authorize(authorization)
    assert effect(answer) == "Deny"
    assert answer["context"] == {}


def test_a_token_under_another_scheme_is_denied(store: ClientStore) -> None:
    assert effect(authorize(f"Basic {store.issue('demo', 'Demo')}")) == "Deny"


def test_a_revoked_token_is_denied(store: ClientStore) -> None:
    token = store.issue("demo", "Demo")
    store.revoke(token)
    assert effect(authorize(f"Bearer {token}")) == "Deny"


def test_a_table_that_cannot_be_read_is_no_verdict(store: ClientStore) -> None:
    boto3.client("dynamodb").delete_table(TableName=TABLE)
    with pytest.raises(StorageError):
        authorize()
