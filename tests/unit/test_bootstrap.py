"""What functions build in Lambda's init phase, and what a snapshot of SnapStart does with it."""

import importlib
import io
import json
import random
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from snapshot_restore_py import get_after_restore  # type: ignore[import-untyped]
from urllib3 import HTTPResponse

from sd3 import bootstrap
from sd3.adapters.aws import AUTHORIZER_TIMEOUT
from tests.support.servers.scripted_server import MisbehavingServer, Reply, http_reply

FIRST_USES = {
    "authorizer": {"clients": ["dynamodb"]},
    "batches": {"batch_service": ["dynamodb", "s3"]},
    "batch_lines": {"batch_steps": ["dynamodb", "events", "s3", "sqs"]},
    "deliveries": {"webhook_deliveries": ["dynamodb", "events", "s3", "secrets"]},
    "dead_letters": {"worker": ["dynamodb", "s3"]},
    "generate": {"job_service": ["dynamodb", "s3", "secrets", "sqs"]},
    "inbox": {"inbox": ["dynamodb", "s3", "sqs"]},
    "jobs": {"job_service": ["dynamodb", "s3"]},
    "mcp": {"job_service": ["dynamodb", "s3", "sqs"]},
    "notifications": {"job_event_publisher": ["dynamodb", "events", "s3"]},
    "changes": {"job_changes": ["dynamodb", "sqs"]},
    "webhooks": {"webhook_service": ["dynamodb"]},
    "worker": {"worker": ["dynamodb", "s3", "secrets"]},
}
"""The use case of each function's first request, and the AWS clients that this request uses."""


def forget() -> None:
    for cached in vars(bootstrap).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Provide what Lambda sets for a function, whose process has just started."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "sd3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("UPSTREAM_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("UPSTREAM_SECRET", "upstream-token")
    monkeypatch.setenv("MASTER_SECRET", "master")
    forget()
    yield monkeypatch
    forget()


def import_function(name: str) -> None:
    """Import a function, also again, as a new process does."""
    module = importlib.import_module(f"functions.{name}.app")
    forget()
    importlib.reload(module)


def built() -> set[str]:
    """Return the names of the builders that have built something."""
    cached = {name: each for name, each in vars(bootstrap).items() if hasattr(each, "cache_info")}
    return {name for name, each in cached.items() if each.cache_info().currsize}


@pytest.mark.parametrize(("function", "uses"), FIRST_USES.items())
def test_the_init_phase_builds_what_the_first_request_uses(
    function: str, uses: dict[str, list[str]]
) -> None:
    import_function(function)
    assert set(uses) < built()
    is_authorizer = function == "authorizer"
    aws = bootstrap._aws(AUTHORIZER_TIMEOUT) if is_authorizer else bootstrap._aws()
    clients = {name for name in vars(aws) if not name.startswith("_")}
    assert [sorted(clients)] == list(uses.values())


@pytest.mark.parametrize("function", ["generate", "worker", "inbox", "mcp"])
def test_the_init_phase_builds_the_upstreams(
    function: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("UPSTREAM", "octoai,stability")
    import_function(function)
    members = vars(bootstrap._generator())["members"]
    assert [vars(member).keys() >= {"upstream", "limiter"} for member in members] == [True, True]


def test_an_authorizer_of_jwts_builds_their_verifier(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_ISSUER", "https://issuer.example.com")
    environment.setenv("JWT_AUDIENCE", "sd3")
    import_function("authorizer")
    assert bootstrap.jwt_verifier.cache_info().currsize
    assert bootstrap.jwt_verifier() is not None


@pytest.mark.parametrize("function", FIRST_USES)
def test_an_import_outside_of_lambda_builds_nothing(
    function: str, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("AWS_LAMBDA_FUNCTION_NAME")
    import_function(function)
    assert not built()


@pytest.mark.parametrize("function", FIRST_USES)
def test_the_init_phase_connects_to_nothing(function: str, environment: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        pytest.fail("a connection was opened at import")

    environment.setattr(socket.socket, "connect", refuse)
    import_function(function)


@pytest.mark.parametrize(
    ("function", "build", "variable", "value"),
    [
        ("generate", bootstrap.job_service, "SYNC_IMAGE_STEPS", "many"),
        ("generate", bootstrap.upstreams, "UPSTREAM", "unknown"),
        ("generate", bootstrap.upstreams, "UPSTREAM_URL", ""),
        ("jobs", bootstrap.job_service, "URL_TTL_SECONDS", "an hour"),
        ("worker", bootstrap.upstreams, "UPSTREAM_RATE", "fast"),
        ("authorizer", bootstrap.jwt_verifier, "JWT_DAILY_BUDGET", "5 dollars"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_requests_and_not_the_import(
    function: str,
    build: Callable[[], object],
    variable: str,
    value: str,
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("JWT_ISSUER", "https://issuer.example.com")
    environment.setenv("JWT_AUDIENCE", "sd3")
    environment.setenv(variable, value)
    import_function(function)
    with pytest.raises(ValueError, match=variable):
        build()


def test_what_fails_in_the_init_phase_keeps_nothing_else_from_being_built(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("JWT_ISSUER", "https://issuer.example.com")
    bootstrap.prepare(bootstrap.jwt_verifier, bootstrap.clients)
    assert "clients" in built()


def restore() -> None:
    """Do what Lambda does in a restored process: run the registered hooks."""
    for hook, arguments, named in get_after_restore():
        hook(*arguments, **named)


def random_numbers() -> list[float]:
    return [bootstrap.clock().jitter(), random.random()]  # noqa: S311 - as botocore draws


def test_restored_processes_generate_different_numbers() -> None:
    snapshot = random.getstate()
    before = random_numbers()
    random.setstate(snapshot)
    assert random_numbers() == before  # without the hook, the restored ones would repeat them too
    numbers = [before]
    for _ in range(2):
        random.setstate(snapshot)
        restore()
        numbers.append(random_numbers())
    assert len({number for each in numbers for number in each}) == 6


def test_a_restored_process_keeps_what_was_built_for_the_snapshot() -> None:
    import_function("generate")
    service, client = bootstrap.job_service(), bootstrap._aws().dynamodb
    restore()
    assert (bootstrap.job_service(), bootstrap._aws().dynamodb) == (service, client)


def credentials(name: str, *, ends_in: timedelta, keep: bool = True) -> Reply:
    """Answer with a role's credentials, as the address does that SnapStart names."""
    body = {
        "AccessKeyId": name,
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": (datetime.now(UTC) + ends_in).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return http_reply(200, json.dumps(body).encode(), keep=keep)


def signer_of(client: Any) -> str:
    """Return the access key by which a client signs a call, which goes nowhere."""
    sent: list[AWSPreparedRequest] = []

    def response(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        sent.append(request)
        body = HTTPResponse(io.BytesIO(b"{}"), preload_content=False)
        return AWSResponse(request.url, 200, HTTPHeaders(), body)

    client.meta.events.register("before-send", response)
    client.list_tables()
    signed: Any = sent[0].headers["Authorization"]  # bytes, whatever its type says
    scheme, _, rest = str(signed, "ascii").partition(" Credential=")
    assert scheme == "AWS4-HMAC-SHA256"
    return rest.partition("/")[0]


@pytest.mark.parametrize(
    ("left", "signer"),
    [(timedelta(minutes=-1), "RESTORED"), (timedelta(minutes=5), "RESTORED"),
     (timedelta(hours=1), "SNAPSHOT")],
    ids=["expired", "about to expire", "valid"],
)  # fmt: skip
@pytest.mark.parametrize("keep", [True, False], ids=["connection lives", "connection is lost"])
def test_a_client_of_the_snapshot_signs_with_credentials_that_are_valid(
    environment: pytest.MonkeyPatch, left: timedelta, signer: str, keep: bool
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    script = (
        credentials("SNAPSHOT", ends_in=left, keep=keep),
        credentials("RESTORED", ends_in=timedelta(hours=6)),
    )
    with MisbehavingServer(*script) as server:
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/credentials")
        environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token of the process")
        import_function("generate")
        client = vars(bootstrap._aws())["dynamodb"]
        restore()
        assert signer_of(client) == signer
        expiry = bootstrap._aws().credentials_expiry()
        assert expiry
        assert expiry > datetime.now(UTC)
        tokens = {received.headers["authorization"] for received in server.requests}
    assert tokens == {"token of the process"}
