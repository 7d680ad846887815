"""make invoke, and which stack every command means."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.environment import write_env
from ops import invoke
from ops.stacks import DeployedStack, StackError, embedded, find_stack

AWS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(autouse=True)
def _another_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Provide an account of the user's that must not be touched."""
    config = tmp_path / "config"
    config.write_text("[profile work]\nendpoint_url = http://127.0.0.1:9\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")


def test_the_embedded_stack_is_free_of_the_users_account() -> None:
    client = embedded(AWS).client("dynamodb")
    assert client.meta.endpoint_url == AWS["AWS_ENDPOINT_URL"]
    assert client.meta.region_name == "us-east-1"
    assert client._request_signer._credentials.access_key == "local"


def test_a_stack_without_a_name_is_the_running_one(tmp_path: Path) -> None:
    write_env(tmp_path / "env", AWS)
    client = find_stack("", env=tmp_path / "env").client("s3")
    assert client.meta.endpoint_url == AWS["AWS_ENDPOINT_URL"]


@pytest.mark.parametrize("payload", ['{"Records": []}', {"Records": []}])
def test_what_lambda_has_given_up_is_invoked_as_it_was(payload: object) -> None:
    record = {"requestContext": {"condition": "RetryAttemptsExhausted"}, "payload": payload}
    assert invoke.event_in(json.dumps(record).encode()) == b'{"Records": []}'


@pytest.mark.parametrize(
    ("result", "error", "status"),
    [
        ({"statusCode": 200}, {}, 0),
        (None, {}, 0),
        ({"batchItemFailures": []}, {}, 0),
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, {}, 1),
        ({"errorMessage": "x"}, {"FunctionError": "Unhandled"}, 1),
    ],
)
def test_an_invocation_of_which_a_part_failed_has_failed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: object,
    error: dict[str, str],
    status: int,
) -> None:
    reply = {"Payload": io.BytesIO(json.dumps(result).encode()), **error}
    stack = SimpleNamespace(
        client=lambda _: SimpleNamespace(invoke=lambda **_: reply), resource=lambda name: name
    )
    monkeypatch.setattr(invoke, "find_stack", lambda _: stack)
    (tmp_path / "event.json").write_text("{}")
    assert invoke.main(["notifications", str(tmp_path / "event.json")]) == status


def test_without_a_running_stack_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="start `make run`"):
        find_stack(None, env=tmp_path / "env")


def test_a_stack_with_a_name_is_in_the_users_own_account() -> None:
    assert find_stack("prod").client("s3").meta.region_name == "eu-west-1"


def test_the_api_of_a_stack_on_aws_is_at_its_own_url(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"ApiUrl": "https://api.example.com/v1", "ApiId": "a1b2"}
    monkeypatch.setattr(DeployedStack, "outputs", lambda _: outputs)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert find_stack("prod").api_url() == "https://api.example.com/v1"
    assert embedded(AWS).api_url() == "http://127.0.0.1:1/_aws/execute-api/a1b2/v1"


class FakeStack(DeployedStack):
    """A stack that runs functions without AWS."""

    def __init__(self) -> None:
        self.invoked: list[dict[str, Any]] = []
        self.response: dict[str, Any] = {}

    def resource(self, logical_id: str) -> str:
        return f"stack-{logical_id}"

    def client(self, service: Any) -> Any:
        return self

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.invoked.append(call)
        return self.response


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    stack = FakeStack()
    monkeypatch.setattr(invoke, "find_stack", lambda _: stack)
    return stack


def test_a_function_runs_with_the_event_of_a_file(
    fake: FakeStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    fake.response = {"Payload": (tmp_path / "event.json").open("rb")}
    assert invoke.main(["dead_letters", str(event)]) == 0
    fake.response["Payload"].close()
    assert fake.invoked == [{"FunctionName": "stack-DeadLettersFunction", "Payload": b"{}"}]
    assert capsys.readouterr().out == "{}\n"


def test_a_function_that_raised_fails_the_command(fake: FakeStack, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{}")
    with event.open("rb") as payload:
        fake.response = {"Payload": payload, "FunctionError": "Unhandled"}
        assert invoke.main(["jobs", str(event)]) == 1


def test_a_missing_event_file_is_an_error(fake: FakeStack, tmp_path: Path) -> None:
    assert invoke.main(["jobs", str(tmp_path / "none.json")]) == 1
