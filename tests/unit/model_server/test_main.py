"""The program: its first line, its log, and its exit."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from model_server.settings import TOKEN_VARIABLE
from tests.support.servers.model_server import TIMEOUT_S, TOKEN, ModelServerClient

ROOT = Path(__file__).parents[3]


@contextmanager
def program(*flags: str) -> Iterator[tuple[subprocess.Popen[str], ModelServerClient]]:
    """Start the program, read its first line, and kill it when the block ends."""
    with subprocess.Popen(  # noqa: S603 - this interpreter and flags of the tests
        [sys.executable, "-m", "model_server", "--port", "0", *flags],
        cwd=ROOT,
        env={**os.environ, TOKEN_VARIABLE: TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process, ModelServerClient(_read_url(process))
        finally:
            process.kill()


def _read_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    assert select.select([process.stdout], [], [], TIMEOUT_S)[0], "no first line"
    line = process.stdout.readline()
    match = re.fullmatch(r"listening on (http://127\.0\.0\.1:[1-9]\d*)\n", line)
    assert match, line
    return match[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_url_and_exits_with_0_on_a_signal(number: signal.Signals) -> None:
    # An idle connection does not delay the exit.
    with program() as (process, client), requests.Session() as idle:
        assert idle.get(f"{client.url}/health", timeout=TIMEOUT_S).json()["ready"]
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0


def test_neither_prompts_nor_tokens_nor_images_are_logged() -> None:
    with program() as (process, client):
        responses = [
            client.generate(prompt="log-me-not", steps=1),
            client.generate(prompt="log-me-not", steps="log-me-not"),
            client.generate(prompt="log-me-not sketch-forbidden"),
            client.generate(prompt="x", init_image="log-me-not"),
            ModelServerClient(client.url, {"Authorization": "Bearer log-me-not"}).generate(
                prompt="x"
            ),
        ]
        process.terminate()
        assert process.stdout
        assert process.stdout.read() == ""
    assert [response.status_code for response in responses] == [200, 422, 400, 422, 403]


def test_a_client_that_disconnects_while_it_sends_is_not_logged() -> None:
    with program() as (process, client):
        port = int(client.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /generate/sd3 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            connection.sendall(f"{head}Content-Length: 99\r\n\r\n{{".encode())
        assert client.generate(prompt="x", steps=1).status_code == 200
        process.terminate()
        assert process.stdout
        assert process.stdout.read() == ""


def test_the_program_exits_and_names_the_package_that_an_engine_lacks() -> None:
    # None in sys.modules makes the import fail, whether or not the package is installed.
    start = (
        "import sys; sys.modules['torch'] = None; from model_server.__main__ import main; main()"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", start, "--engine", "diffusers", "--weights", "w"],
        cwd=ROOT,
        env={**os.environ, TOKEN_VARIABLE: TOKEN},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "the diffusers engine needs torch: see model_server/README.md\n"
