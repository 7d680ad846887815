"""Child processes that end with this one: each leads a process group and has a log file."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from local.environment import ROOT
from ops.stacks import StackError

_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05


class ChildError(StackError):
    """A process has ended or is not ready; `log` has its last words, and `hint` what to try."""

    def __init__(self, message: str, log: Path, hint: str) -> None:
        super().__init__(message)
        self.log, self.hint = log, hint


class Child:
    """One process and all that it starts; leaving the `with` block ends them all."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: Path,
        hint: str = "",
    ) -> None:
        self.name = name
        self.log = log
        self._hint = hint
        with log.open("wb") as output:
            # A new session does not get the terminal's Ctrl-C: we end the processes, in order.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Return the process id, which is the id of its group too."""
        return self._process.pid

    def check(self) -> None:
        """Raise StackError when the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise self._error(f"ended with status {status}")

    def finish(self) -> None:
        """Wait for a process that ends by itself; raises StackError when it failed."""
        if self._process.wait():
            self.check()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Poll until `ready()` is true; raises StackError on timeout or when the process ends."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise self._error(f"was not ready after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the process and all of its group; those that ignore SIGTERM are killed."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _error(self, what: str) -> ChildError:
        return ChildError(f"{self.name} {what}: see {self.log}", self.log, self._hint)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock that ends with this process, even when it is killed.

    Raises BlockingIOError when another process holds it and `wait` is false.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
