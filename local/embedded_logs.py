"""Has the embedded AWS keep every line that a function logs.

MiniStack reads what a function's process has printed for some milliseconds after its response. On
a busy machine lines come later than that. They are then logged by the next invocation of the same
process, and never if there is none.
"""

# ruff: noqa: SLF001 - MiniStack has no public names for what is corrected here

import queue
import time
from typing import Any, Final

_END: Final = "\x1eend of an invocation"
"""The line that a process prints after all lines of an invocation."""

_RESPONSE: Final = "        _real_stdout.flush()\n\nrun()\n"
"""Where MiniStack's program for functions in Python sends a response."""

_LONGEST: Final = 5.0
_LONGEST_OF_THE_DEAD: Final = 0.25
"""Seconds: a process that has died prints no end."""


def read_to_the_end(runtime: Any) -> None:
    """Have each process print the end of an invocation's lines, and read up to it."""
    program: str = runtime._PYTHON_WORKER_SCRIPT
    if program.count(_RESPONSE) != 1:
        msg = "this MiniStack has another program for functions in Python"
        raise RuntimeError(msg)
    end = f"        sys.stderr.write({_END!r} + chr(10))\n        sys.stderr.flush()\n"
    runtime._PYTHON_WORKER_SCRIPT = program.replace(_RESPONSE, end + _RESPONSE)

    def lines(worker: Any, **_: float) -> str:
        found: list[str] = []
        until = time.monotonic() + (_LONGEST if worker._proc else _LONGEST_OF_THE_DEAD)
        while (left := until - time.monotonic()) > 0:
            try:
                line = worker._stderr_queue.get(timeout=left)
            except queue.Empty:
                break
            if line == _END:
                break
            found.append(line)
        return "\n".join(found)

    runtime.Worker._drain_stderr_bounded = lines
