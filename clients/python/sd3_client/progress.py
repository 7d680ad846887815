"""What a person sees on stderr while a job goes on: a bar in a terminal, else a line a change."""

from __future__ import annotations

import shutil
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from sd3_client.models import Batch, Job

if TYPE_CHECKING:
    from typing_extensions import Self

_CELLS = 24
_TICK_SECONDS = 0.2


def describe(job: Job | Batch | None) -> str:
    """Say in a few words how a job or a batch stands."""
    if job is None:
        return "sent"
    words = [job.status]
    if job.queue_position is not None:
        words.append(f"{job.queue_position} before it" if job.queue_position else "next")
    if job.progress:
        words.append(f"{job.progress['done']} of {job.progress['of']} {job.unit}")
    if job.eta_seconds is not None and not job.has_ended:
        words.append(f"about {_span(job.eta_seconds)}")
    return ", ".join(words)


def share(job: Job | Batch | None, *, waited: float, since_read: float) -> float | None:
    """Estimate how much of the wait is over, from 0 to 1; None if nobody knows.

    What is done counts, and so does the time that is left: the larger share is shown.
    """
    if job is None or job.has_ended:
        return None if job is None else 1.0
    known = []
    if job.progress and job.progress["done"]:
        known.append(job.progress["done"] / max(1, job.progress["of"]))
    if job.eta_seconds is not None:
        left = max(0.0, job.eta_seconds - since_read)
        known.append(waited / max(0.001, waited + left))
    return min(0.99, max(known)) if known else None


class Progress:
    """Shows how a job stands, from the beginning of the block to its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._is_terminal = stream, stream.isatty()
        self._full, self._empty = "█░" if _can_write(stream, "█░") else "#-"
        self._job: Job | Batch | None = None
        self.began = self._read = time.monotonic()
        self._shown, self._drawn = "", 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, daemon=True)

    def __enter__(self) -> Self:
        if self._is_terminal:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_terminal:
            self._ended.set()
            self._thread.join()
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def update(self, job: Job | Batch) -> None:
        """Take over what was read of the job."""
        self._job, self._read = job, time.monotonic()
        line = f"{job.id}: {describe(job)}"
        if not (self._is_terminal or job.has_ended or line == self._shown):
            self._shown = line
            print(line, file=self._stream, flush=True)

    def line(self, now: float, columns: int) -> str:
        """Make the line of a terminal at a moment: a bar, words and the time so far."""
        waited = now - self.began
        done = share(self._job, waited=waited, since_read=now - self._read)
        if done is None:  # nobody knows: a block that wanders
            at = self._drawn % (_CELLS - 2)
            cells = self._empty * at + self._full * 3 + self._empty * (_CELLS - 3 - at)
        else:
            filled = round(done * _CELLS)
            cells = self._full * filled + self._empty * (_CELLS - filled)
        return f"{cells} {describe(self._job)}  {_span(waited)}"[: max(1, columns - 1)]

    def _draw_often(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            line = self.line(time.monotonic(), shutil.get_terminal_size().columns)
            self._drawn += 1
            self._stream.write(f"\r\x1b[2K{line}")
            self._stream.flush()


def _span(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True
