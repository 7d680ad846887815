"""Tokens on the deployed stack, managed by the operator's commands."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import requests

from local.stack import Stack
from sd3.domain.client import JWT_CLIENTS
from tests.support.operator import Api, Operator, outcome
from tests.support.polling import wait_for
from tests.support.servers.jwt_issuer import AUDIENCE, MOBILE_APP, LoopbackIssuer, rsa_key

CACHE_SECONDS: Final = 1


@pytest.fixture
def short_cache(stack: Stack) -> Iterator[None]:
    """Cache the authorizer's results for a second instead of the template's minute."""
    gateway = stack.deployed.client("apigateway")
    api_id = stack.deployed.outputs()["ApiId"]
    [authorizer] = gateway.get_authorizers(restApiId=api_id)["items"]

    def keep(seconds: int) -> None:
        change = {
            "op": "replace",
            "path": "/authorizerResultTtlInSeconds",
            "value": str(seconds),
        }
        gateway.update_authorizer(
            restApiId=api_id, authorizerId=authorizer["id"], patchOperations=[change]
        )

    keep(CACHE_SECONDS)
    yield
    keep(authorizer["authorizerResultTtlInSeconds"])


def test_a_token_may_do_what_its_scopes_allow(operator: Operator, api: Api) -> None:
    reader = operator.token("scoped", SCOPES="read", NAME="The 'reader' of \"foxes\" & `co`")
    generateer = operator.token("scoped", SCOPES="generate")
    rejected = api.generate(reader)
    assert outcome(rejected) == (403, "forbidden")
    assert "scope generate" in rejected.json()["message"]
    generated = api.generate(generateer)
    assert outcome(generated) == (200, None)
    path = f"/jobs/{generated.json()['id']}"
    assert outcome(api.get(reader, path)) == (200, None)
    assert outcome(api.get(generateer, path)) == (403, "forbidden")
    names = {line.split(None, 9)[-1] for line in operator.make("clients") if "scoped" in line}
    assert names == {"The 'reader' of \"foxes\" & `co`"}


def test_a_client_generates_as_many_images_as_it_may(operator: Operator, api: Api) -> None:
    first = operator.token("few", MAX_IMAGES="2", BUDGET="5.00", PER_MINUTE="60")
    rejected = api.generate(first, num_images=3)
    assert outcome(rejected) == (422, "validation_error")
    assert [field_error["loc"] for field_error in rejected.json()["detail"]] == [
        ["body", "num_images"]
    ]
    assert len(api.generate(first, num_images=2).json()["images"]) == 2
    second = operator.token("few")
    assert outcome(api.generate(second, num_images=3)) == (422, "validation_error")


@pytest.mark.usefixtures("short_cache")
def test_tokens_are_rotated_and_the_old_one_ends(operator: Operator, api: Api) -> None:
    old, new = operator.token("rotating"), operator.token("rotating")
    assert [outcome(api.get(token)) for token in (old, new)] == [(200, None)] * 2
    listed = [line.split()[1] for line in operator.make("clients") if line.startswith("rotating")]
    assert len(listed) == 2
    operator.make("revoke", CLIENT="rotating", TOKEN=listed[0])
    wait_for(lambda: outcome(api.get(old)) == (403, "forbidden"), what="end of the old token")
    assert outcome(api.get(new)) == (200, None)
    operator.make("revoke", CLIENT="rotating")
    wait_for(lambda: outcome(api.get(new)) == (403, "forbidden"), what="end of the new token")


@pytest.mark.usefixtures("short_cache")
def test_a_token_ends_when_it_expires(operator: Operator, api: Api) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=8)
    token = operator.token("passing", EXPIRES=soon.isoformat())
    assert outcome(api.get(token)) == (200, None)
    wait_for(lambda: outcome(api.get(token)) == (403, "forbidden"), what="end of the token")
    assert datetime.now(UTC) > soon


def test_wrong_commands_fail_and_change_nothing(operator: Operator) -> None:
    before = operator.make("clients")
    for target, said in (
        ("token", {"CLIENT": "wrong", "SCOPES": "write"}),
        ("token", {"CLIENT": "wrong", "BUDGET": "-1"}),
        ("token", {"CLIENT": "wrong", "EXPIRES": "2020-01-01"}),
        ("revoke", {"CLIENT": "wrong"}),
        ("revoke", {"CLIENT": "local", "TOKEN": ""}),
    ):
        done = operator.run(target, **said)
        assert (done.returncode, done.stdout, bool(done.stderr)) == (2, "", True), said
    assert operator.make("clients") == before


def test_a_user_of_the_issuer_is_a_client(issuer: LoopbackIssuer, api: Api) -> None:
    generated = api.generate(issuer.token(sub="anna", scope="generate"))
    assert outcome(generated) == (200, None)
    path = f"/jobs/{generated.json()['id']}"
    assert outcome(api.get(issuer.token(sub="anna"), path)) == (200, None)
    assert outcome(api.get(issuer.token(sub="bert"), path)) == (404, "not_found")
    assert outcome(api.generate(issuer.token(sub="anna", scope="read"))) == (403, "forbidden")
    for wrong in (issuer.token(rsa_key("another")), issuer.token(aud="other")):
        assert outcome(api.get(wrong)) == (403, "forbidden")
    unsigned = issuer.token().rpartition(".")[0] + "."
    assert outcome(api.get(unsigned)) == (401, "unauthorized")


def test_a_mobile_app_signs_in_with_its_access_token_and_has_its_budget(
    issuer: LoopbackIssuer, stack: Stack, http: requests.Session
) -> None:
    scope = f"{AUDIENCE}/generate {AUDIENCE}/read openid"
    user: dict[str, Any] = {
        "client_id": MOBILE_APP,
        "token_use": "access",
        "sub": "carl",
        "username": "carl",
    }
    token = issuer.token(without="aud", scope=scope, **user)
    http.headers["Authorization"] = f"BEARER   {token}"

    def generate(**fields: int) -> requests.Response:
        body = {"prompt": "a fox", **fields}
        return http.post(f"{stack.api_url}/generate/sd3", json=body, timeout=60)

    assert outcome(generate(num_images=3)) == (422, "validation_error")
    assert outcome(generate()) == (200, None)
    assert outcome(generate()) == (402, "budget_exceeded")
    usage = http.get(f"{stack.api_url}/usage", timeout=60).json()
    assert (usage["today"]["budget_usd"], usage["today"]["left_usd"]) == (0.05, 0.02)
    pages = stack.deployed.client("dynamodb").get_paginator("scan")
    pages = pages.paginate(TableName=stack.deployed.outputs()["UsageTable"])
    days = {item["client_id"]["S"]: item for page in pages for item in page["Items"]}
    assert days[usage["client_id"]]["client_name"] == {"S": "carl"}
    assert int(days[JWT_CLIENTS]["committed"]["N"]) >= 30_000
    other = issuer.token(without="aud", scope=scope, **(user | {"client_id": "other"}))
    http.headers["Authorization"] = f"Bearer {other}"
    assert outcome(generate()) == (403, "forbidden")
