"""What children see of this machine, the ports they get, and the file that describes the stack."""

import socket
import stat
from pathlib import Path

import pytest

from local.environment import bare, for_building, free_port, write_env
from ops.stacks import read_env

MACHINE = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "AWS_PROFILE": "work",
    "AWS_ACCESS_KEY_ID": "real",
    "HTTPS_PROXY": "http://proxy",
    "PYTHONPATH": "x",
    "MAKEFLAGS": "-j",
    "SAM_CLI_POLL_DELAY": "5",
    "LAYER_TARGET": "x",
    "UV_DEFAULT_INDEX": "https://registry.example.com",
}


def test_a_server_sees_neither_account_nor_proxy() -> None:
    assert bare(MACHINE) == {"PATH": "/bin", "HOME": "/home/me"}


def test_a_build_gets_the_variables_of_registries_and_none_that_change_its_result() -> None:
    assert set(for_building(MACHINE)) == {"PATH", "HOME", "HTTPS_PROXY", "UV_DEFAULT_INDEX"}


def test_a_free_port_is_taken_as_wished() -> None:
    wished = free_port(0)
    assert free_port(wished) == wished


def test_a_taken_port_becomes_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port


def test_only_the_user_may_read_the_file_of_secrets(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    values = {"SD3_API_URL": "http://127.0.0.1:1/a?b=c", "SD3_API_TOKEN": "sd3_x"}
    write_env(path, values)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_env(path) == values
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_means_no_stack(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_env(tmp_path / "env")
