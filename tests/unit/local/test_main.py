"""What make run says: of what it refuses, of what failed, and of the service that runs."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from local import __main__ as program
from local.__main__ import main
from local.processes import ChildError, locked
from local.stack import Stack
from ops.stacks import StackError
from tests.support.factories.images import jpeg

URL = "http://127.0.0.1:45660/_aws/execute-api/3a8a30e7/v1"
TOKEN = "sd3_" + "x" * 43


@pytest.fixture(autouse=True)
def _signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pytest its own."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


def start(monkeypatch: pytest.MonkeyPatch, *errors: BaseException) -> None:
    """Run the stack up to an error at its start, or up to Ctrl-C once all has started."""

    def check() -> None:
        raise KeyboardInterrupt

    @contextmanager
    def running(*_: Any, report: Any, **__: Any) -> Iterator[Stack]:
        report("embedded AWS")
        for error in errors:
            raise error
        deployed: Any = SimpleNamespace(issue_token=lambda _: TOKEN)
        stack: Any = SimpleNamespace(
            api_url=URL,
            deployed=deployed,
            aws=dict.fromkeys(program._PUBLISHED, "aws"),
            upstream_url="",
            check=check,
        )
        yield stack

    monkeypatch.setattr(program, "running", running)
    monkeypatch.setattr(program, "generate", lambda *_, **__: jpeg(64, 64))


def test_a_secret_that_cannot_sign_is_refused_and_not_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "c2pa.json"
    secret.write_text("sk-1")
    assert main(["--c2pa", str(secret)], state=tmp_path) == 1
    assert f"{secret} cannot sign images: it is not JSON" in (said := capsys.readouterr().out)
    assert "sk-1" not in said


def test_the_service_that_runs_is_shown_in_80_columns_with_no_token_in_an_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch)
    assert main([], state=tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  playground   {URL}/playground" in lines
    assert f"  token        {TOKEN}" in lines
    assert not [line for line in lines if "http" in line and TOKEN in line]
    assert not [line for line in lines if "\x1b" in line]  # it is no terminal
    home = str(tmp_path)  # a checkout has a short path: .local
    assert max(len(line.replace(home, ".local")) for line in lines) <= 80
    assert lines[-1] == "stopped"
    assert (tmp_path / "first.jpg").read_bytes() == jpeg(64, 64)
    assert not (tmp_path / "env").exists()


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_that_can_shows_the_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch)
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    assert main([], state=tmp_path) == 0
    assert "\x1b_Ga=T,f=100,q=2," in terminal.getvalue()


def test_what_failed_is_said_with_the_end_of_its_log_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "sam-build.log"
    log.write_bytes(b"first\n" + b"\n".join(b"%d \xff" % number for number in range(20)) + b"\n\n")
    start(monkeypatch, ChildError(f"sam build ended: see {log}", log, "Run it again."))
    assert main([], state=tmp_path) == 1
    _step, *said = capsys.readouterr().out.splitlines()
    assert said == [
        "",
        f"The service does not run: sam build ended: see {log}",
        "",
        *(f"    {number} \ufffd" for number in range(12, 20)),
        "",
        "Run it again.",
    ]


@pytest.mark.parametrize(
    "error",
    [
        StackError("no image was generated: 500"),
        OSError(28, "No space left on device"),
        requests.ConnectionError("refused"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ],
)
def test_no_failure_ends_in_a_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    start(monkeypatch, error)
    assert main([], state=tmp_path) == 1
    assert f"The service does not run: {error}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("env", "said"), [(f"SD3_API_URL={URL}\n", f"already at {URL}:"), (None, "already:")]
)
def test_a_second_make_run_says_where_the_first_one_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], env: str | None, said: str
) -> None:
    if env:
        (tmp_path / "env").write_text(env)
    with locked(tmp_path / "run.lock", wait=False):
        assert main([], state=tmp_path) == 1
    assert said in capsys.readouterr().out
