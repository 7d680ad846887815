"""The program: its flags, its first line, its end."""

import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from model_server.engines.registry import ENGINES
from model_server.server.lifecycle import url_of
from model_server.settings import TOKEN_VARIABLE, Settings
from tests.unit.model_server.serving import PATIENCE_S, TOKEN, Client

ROOT = Path(__file__).parents[3]


def read(flags: Sequence[str], token: str = TOKEN) -> Settings:
    return Settings.from_command_line(flags, {TOKEN_VARIABLE: token}, engines=ENGINES)


@contextmanager
def program(*flags: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """Start the program, read its first line, and see that it is gone afterwards."""
    with subprocess.Popen(  # noqa: S603 - this interpreter and flags of the tests
        [sys.executable, "-m", "model_server", "--port", "0", *flags],
        cwd=ROOT,
        env={**os.environ, TOKEN_VARIABLE: TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process, Client(_url(process))
        finally:
            process.kill()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    assert select.select([process.stdout], [], [], PATIENCE_S)[0], "no first line"
    line = process.stdout.readline()
    found = re.fullmatch(r"listening on (http://127\.0\.0\.1:[1-9]\d*)\n", line)
    assert found, line
    return found[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_with_0_on_a_signal(number: signal.Signals) -> None:
    # An idle connection does not hold it up.
    with program() as (process, client), requests.Session() as idle:
        assert idle.get(f"{client.url}/health", timeout=PATIENCE_S).json()["ready"]
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0


def test_neither_prompts_nor_tokens_nor_pictures_are_logged() -> None:
    with program() as (process, client):
        answers = [
            client.generate(prompt="log-me-not", steps=1),
            client.generate(prompt="log-me-not", steps="log-me-not"),
            client.generate(prompt="log-me-not sketch-forbidden"),
            client.generate(prompt="x", init_image="log-me-not"),
            Client(client.url, {"Authorization": "Bearer log-me-not"}).generate(prompt="x"),
        ]
        process.terminate()
        assert process.stdout
        assert process.stdout.read() == ""
    assert [answer.status_code for answer in answers] == [200, 422, 400, 422, 403]


def test_a_client_that_hangs_up_while_it_sends_leaves_no_trace() -> None:
    with program() as (process, client):
        port = int(client.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /generate/sd3 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            connection.sendall(f"{head}Content-Length: 99\r\n\r\n{{".encode())
        assert client.generate(prompt="x", steps=1).status_code == 200
        process.terminate()
        assert process.stdout
        assert process.stdout.read() == ""


def test_without_a_token_it_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read([], token="")
    assert caught.value.code == 2
    assert TOKEN_VARIABLE in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        "--engine none",
        "--port http",
        "--max-concurrent 0",
        "--requests-per-minute -1",
        "--max-body-bytes 0",
        "--delay-ms-per-step -1",
        "--delay-ms-per-step nan",
        "--delay-ms-per-step inf",
        "--engine diffusers",
        "--dtype fp8",
        "--offload disk",
        "--max-batch 0",
        "--token secret",
    ],
)
def test_a_wrong_flag_is_refused(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(shlex.split(flags))
    assert caught.value.code == 2
    assert flags.partition(" ")[0] in capsys.readouterr().err


def test_without_its_packages_the_diffusers_engine_says_what_it_needs() -> None:
    # None makes an import fail as for a package that is not there, should it be there.
    start = (
        "import sys; sys.modules['torch'] = None; from model_server.__main__ import main; main()"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", start, "--engine", "diffusers", "--weights", "w"],
        cwd=ROOT,
        env={**os.environ, TOKEN_VARIABLE: TOKEN},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "the diffusers engine needs torch: see model_server/README.md\n"


def test_every_flag_reaches_the_settings() -> None:
    flags = (
        "--host ::1 --port 1 --engine sketch --max-concurrent 2 --requests-per-minute 3 "
        "--max-body-bytes 4 --delay-ms-per-step 0.5 --weights w --dtype fp16 --offload model "
        "--compile --max-batch 5 --safety-checker s"
    )
    assert read(shlex.split(flags)) == Settings(
        token=TOKEN,
        host="::1",
        port=1,
        engine="sketch",
        max_concurrent=2,
        requests_per_minute=3,
        max_body_bytes=4,
        delay_ms_per_step=0.5,
        weights="w",
        dtype="fp16",
        offload="model",
        compile=True,
        max_batch=5,
        safety_checker="s",
    )


def test_by_default_it_listens_on_this_machine_only() -> None:
    settings = read([])
    assert settings == Settings(token=TOKEN)
    assert settings.host == "127.0.0.1"
    assert TOKEN not in repr(settings)


def test_an_ipv6_address_is_in_brackets() -> None:
    assert url_of("::1", 80) == "http://[::1]:80"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_the_containers_command_has_flags_that_the_program_takes(name: str) -> None:
    lines = (ROOT / "model_server" / name).read_text().splitlines()
    [command] = [json.loads(line.removeprefix("CMD")) for line in lines if line.startswith("CMD")]
    assert command[:3] == ["python", "-m", "model_server"]
    assert read(command[3:]).host == "0.0.0.0"  # noqa: S104 - the container's
