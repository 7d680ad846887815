"""Child processes end with us, with all that they started; one that ends by itself is an error."""

import os
import sys
from pathlib import Path

import pytest

from local.processes import Child, locked
from ops.stacks import StackError

GRANDCHILD = """
import subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("started", grandchild.pid, flush=True)
grandchild.wait()
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
time.sleep(600)
"""


def child(log: Path, code: str) -> Child:
    return Child("it", [sys.executable, "-c", code], env=dict(os.environ), log=log)


def started(process: Child) -> bool:
    return process.log.read_text().endswith("\n")


def gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    with child(tmp_path / "log", GRANDCHILD) as process:
        process.wait_until(lambda: started(process), seconds=30)
        grandchild = int(process.log.read_text().split()[1])
        assert not gone(grandchild)
    while not gone(grandchild):
        pass


def test_a_child_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.processes._STOP_SECONDS", 0.1)
    with child(tmp_path / "log", STUBBORN) as process:
        process.wait_until(lambda: started(process), seconds=30)
    assert gone(process.pid)


def test_a_child_that_dies_while_awaited_is_an_error(tmp_path: Path) -> None:
    with (
        child(tmp_path / "log", "raise SystemExit(3)") as process,
        pytest.raises(StackError, match=r"it ended with status 3: see .*log"),
    ):
        process.wait_until(lambda: False, seconds=30)


def test_a_child_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    with (
        child(tmp_path / "log", STUBBORN) as process,
        pytest.raises(StackError, match="was not ready after 0 s"),
    ):
        process.wait_until(lambda: False, seconds=0)
    assert gone(process.pid)


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    with child(tmp_path / "log", "") as fine:
        fine.finish()
    with child(tmp_path / "log", "raise SystemExit(1)") as failing, pytest.raises(StackError):
        failing.finish()


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, wait=False), pytest.raises(BlockingIOError), locked(path, wait=False):
        pytest.fail("two hold the lock")
    with locked(path, wait=False):
        pass
