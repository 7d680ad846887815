"""make demo, for a service that is not there, that costs money, or that does not work."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from local import demo
from local.demo import STEPS, main
from local.environment import write_env
from ops.stacks import DeployedStack
from tests.support.servers.scripted_server import MisbehavingServer, Received, Reply, http_reply

TOKEN: Final = "sd3_" + "x" * 43
MODEL: Final = "http://127.0.0.1:8188"
PRICE: Final = {"cost_usd": 0.30, "upstream": "octoai"}
UNUSED: Final = {"today": {"pictures": 0, "cost_usd": 0.0, "reserved_usd": 0.0}}


class BrokenService(MisbehavingServer):
    """Tells prices and the usage, and answers everything else with a 500."""

    def next_reply(self, received: Received) -> Reply:
        self.requests.append(received)
        if received.path == "/usage":
            return http_reply(200, json.dumps(UNUSED).encode())
        if b"dry_run" in received.body:
            return http_reply(200, json.dumps(PRICE).encode())
        return http_reply(500, b'{"code": "internal_error"}')


class Inbox:
    """S3, as far as the demo uses it; the bucket itself is broken too."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def put_object(self, **_: Any) -> None:
        raise OSError("no bucket")

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803 - boto3's names
        self.removed.append(f"{Bucket}/{Key.rpartition('-')[0]}")


class Deployed(DeployedStack):
    def __init__(self, upstream_url: str) -> None:
        self.inbox = Inbox()
        self._upstream_url = upstream_url

    def client(self, service: Any) -> Any:
        return self.inbox

    def outputs(self) -> dict[str, str]:
        return {"InboxBucket": "inbox", "ImagesBucket": "images"}

    def parameters(self) -> dict[str, str]:
        return {"Upstream": "octoai", "UpstreamUrl": self._upstream_url}


@pytest.fixture
def service() -> Iterator[BrokenService]:
    with BrokenService() as service:
        yield service


@pytest.fixture
def arguments(service: BrokenService, tmp_path: Path) -> list[str]:
    env = {"SD3_API_URL": service.url, "SD3_API_TOKEN": TOKEN, "SD3_CLIENT": "local"}
    write_env(tmp_path / "env", env | {"SD3_UPSTREAM_URL": MODEL})
    return ["--env", str(tmp_path / "env"), "--folder", str(tmp_path / "images")]


def use(monkeypatch: pytest.MonkeyPatch, *, upstream_url: str) -> Inbox:
    deployed = Deployed(upstream_url)
    monkeypatch.setattr(demo, "embedded", lambda _: deployed)
    return deployed.inbox


def test_without_make_run_it_says_what_to_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", str(tmp_path / "env"), "--folder", str(tmp_path)]) == 1
    assert "start `make run`" in capsys.readouterr().out


def test_a_service_that_was_killed_is_said_to_be_gone(
    arguments: list[str],
    service: BrokenService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.shutdown()
    service.server_close()
    use(monkeypatch, upstream_url=MODEL)
    assert main(arguments) == 1
    assert "Is `make run` still running?" in capsys.readouterr().out


def test_every_step_has_its_row_and_one_that_needs_a_failed_one_is_not_tried(
    arguments: list[str],
    service: BrokenService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inbox = use(monkeypatch, upstream_url=MODEL)
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    _header, *rows = printed.splitlines()[: len(STEPS) + 1]
    assert [row[2:22].strip() for row in rows] == [step.name for step in STEPS]
    assert [row[0] for row in rows] == ["✓", *("✗" for _ in STEPS[1:])]
    assert "\nanswered at once: POST /generate/sd3 was answered with 500" in printed
    assert "\nverify: needs the first image" in printed
    assert "\nfile in the inbox: no bucket" in printed
    assert [request.path for request in service.requests].count("/verify") == 0
    assert inbox.removed == ["inbox/local/demo", "images/local/inbox/demo"]
    assert TOKEN not in printed


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("upstream_url", ["", "http://127.0.0.1:9", f"{MODEL},http://127.0.0.1:9"])
@pytest.mark.parametrize(
    ("answer", "is_run"), [(None, False), ("", False), ("n", False), ("y", True)]
)
def test_images_that_are_paid_are_generated_only_if_somebody_agrees(
    arguments: list[str],
    service: BrokenService,
    monkeypatch: pytest.MonkeyPatch,
    upstream_url: str,
    answer: str | None,
    is_run: bool,
) -> None:
    use(monkeypatch, upstream_url=upstream_url)
    monkeypatch.setattr("sys.stdout", printed := io.StringIO() if answer is None else Terminal())
    monkeypatch.setattr("sys.stdin", io.StringIO() if answer is None else Terminal())
    monkeypatch.setattr("builtins.input", lambda _: answer)
    monkeypatch.setenv("TERM", "xterm")
    assert main(arguments) == 1
    assert "The demo's 10 images cost $0.30 at octoai." in printed.getvalue()
    generated = [r for r in service.requests if r.method == "POST" and b"dry_run" not in r.body]
    assert bool(generated) == is_run
    assert ("YES=1" in printed.getvalue()) == (answer is None)


def test_yes_asks_nobody(
    arguments: list[str], service: BrokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, upstream_url="")
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("somebody was asked"))
    assert main([*arguments, "--yes"]) == 1
    assert [request for request in service.requests if request.path == "/images/generations"]
