"""The lines that a function of the embedded AWS logs."""

from queue import Queue
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest

from local.embedded_logs import read_to_the_end

PROGRAM = "        _real_stdout.write(response)\n        _real_stdout.flush()\n\nrun()\n"


@pytest.fixture
def runtime() -> Any:
    found = SimpleNamespace(_PYTHON_WORKER_SCRIPT=PROGRAM, Worker=type("Worker", (), {}))
    read_to_the_end(found)
    return found


def worker_of(runtime: Any, *, lives: bool) -> Any:
    worker = runtime.Worker()
    worker._proc = SimpleNamespace() if lives else None
    worker._stderr_queue = Queue()
    return worker


def test_a_line_that_comes_late_is_read_up_to_the_end_of_its_invocation(runtime: Any) -> None:
    worker = worker_of(runtime, lives=True)
    end = "\x1eend of an invocation"
    assert repr(end) in runtime._PYTHON_WORKER_SCRIPT
    printed = worker._stderr_queue
    Timer(0.2, lambda: [printed.put(line) for line in ("late", end, "of the next")]).start()
    assert worker._drain_stderr_bounded() == "late"


def test_a_process_that_died_prints_no_end(runtime: Any) -> None:
    worker = worker_of(runtime, lives=False)
    worker._stderr_queue.put("last words")
    assert worker._drain_stderr_bounded() == "last words"


def test_another_program_is_not_changed_silently() -> None:
    with pytest.raises(RuntimeError, match="another program"):
        read_to_the_end(SimpleNamespace(_PYTHON_WORKER_SCRIPT="", Worker=object))
