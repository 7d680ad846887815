"""make smoke, for a service that does not work: it says so, leaves no job and ends its token."""

import json
from typing import Any

import pytest

from ops import smoke
from ops.stacks import DeployedStack
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.token_admin import TokenStore
from tests.support.servers.scripted_server import MisbehavingServer, Reply, http_reply


def reply(status: int, /, **body: Any) -> Reply:
    return http_reply(status, json.dumps(body).encode())


HEALTHY = reply(200, status="ok")
PRICE = reply(200, cost_usd=0.01, upstream="octoai")
UNUSED = reply(200, last_30_days={"pictures": 0})


class MotoStack(DeployedStack):
    """A stack with a table and a bucket on moto, whose API is a server of the test."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._aws, self._url = aws, url
        aws.dynamodb.create_table(
            TableName="clients",
            KeySchema=[{"AttributeName": "token_sha256", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "token_sha256", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def client(self, service: Any) -> Any:
        return getattr(self._aws, service)

    def outputs(self) -> dict[str, str]:
        return {"InboxBucket": "images", "ImagesBucket": "images"}

    def tokens(self) -> TokenStore:
        return TokenStore(self._aws.dynamodb, "clients")

    def api_url(self) -> str:
        return self._url


@pytest.mark.parametrize(
    ("script", "failed", "paths"),
    [
        ([reply(500, code="internal_error")], "health", ["/health"]),
        (
            [HEALTHY, reply(402, code="budget_exceeded")],
            "dry run",
            ["/health", "/generate/sd3"],
        ),
        (
            [HEALTHY, PRICE, UNUSED, reply(504, code="timeout", job_id="slow"), http_reply(204)],
            "image",
            ["/health", "/generate/sd3", "/usage", "/generate/sd3", "/jobs/slow"],
        ),
    ],
)
def test_the_step_that_fails_is_named_and_nothing_stays(
    script: list[Reply],
    failed: str,
    paths: list[str],
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with MisbehavingServer(*script) as server:
        deployed = MotoStack(aws, server.url)
        monkeypatch.setattr(smoke, "find_stack", lambda _: deployed)
        assert smoke.main(["--stack", "prod"]) == 1
    assert [request.path for request in server.requests] == paths
    printed = capsys.readouterr().out
    *_, line, look, rest = printed.splitlines()
    assert line.startswith(f"FAILED  {failed} ")
    [step] = [step for step in smoke.STEPS if step.name == failed]
    assert look == f"look at {step.look}"
    assert rest.endswith("delete")
    [token] = deployed.tokens().all()
    assert token.revoked_at
    assert server.requests[-1].headers["authorization"].removeprefix("Bearer ") not in printed
