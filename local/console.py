"""Prints what a command does, step by step, with times; a terminal also shows what runs now."""

import os
import sys
import time
from collections.abc import Mapping
from itertools import cycle
from threading import Event, Thread
from typing import Final, TextIO

_FRAME_SECONDS: Final = 0.1
_TIME_COLUMN: Final = 40
_CLEAR: Final = "\r\x1b[K"
_GREEN, _RED, _DIM = "32", "31", "2"


class Console:
    """One step at a time. A stream that is no terminal gets plain lines, without colours."""

    def __init__(self, out: TextIO | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._out = out or sys.stdout
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.is_terminal = self._out.isatty() and self.environ.get("TERM", "dumb") != "dumb"
        self._is_unicode = "utf" in (self._out.encoding or "").lower()
        self._text: str | None = None
        self._start = 0.0
        self._spinner: _Spinner | None = None

    def line(self, text: str = "") -> None:
        """Print a line at once."""
        print(text, file=self._out, flush=True)

    def step(self, text: str) -> None:
        """End the step before, and begin this one."""
        self.done()
        self._text, self._start = text, time.monotonic()
        if self.is_terminal:
            self.spin(text)
        else:  # whoever reads along sees what is running if it never ends
            print(f"{text} ...", end=" ", file=self._out, flush=True)

    def done(self) -> None:
        """End the running step, if there is one, as one that worked."""
        self._end(self.good(), "")

    def failed(self) -> None:
        """End the running step, if there is one, as the one that failed."""
        self._end(self.bad(), "failed after ")

    def spin(self, text: str) -> None:
        """Show that something runs, on a terminal: until `clear`, or another text."""
        if self.is_terminal and self._spinner is None:
            frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self._is_unicode else "|/-\\"
            self._spinner = _Spinner(self._out, frames, text)
        elif self._spinner:
            self._spinner.text = text

    def clear(self) -> None:
        """End what `spin` shows, and leave nothing of it."""
        if self._spinner:
            self._spinner.stop()
            self._spinner = None

    def good(self) -> str:
        """Return the mark of what worked."""
        return self._painted("✓" if self._is_unicode else "ok", _GREEN)

    def bad(self) -> str:
        """Return the mark of what failed."""
        return self._painted("✗" if self._is_unicode else "failed:", _RED)

    def dim(self, text: str) -> str:
        """Return a text that matters less."""
        return self._painted(text, _DIM)

    def _end(self, mark: str, verb: str) -> None:
        text, self._text = self._text, None
        self.clear()
        if text is None:
            return
        seconds = f"{time.monotonic() - self._start:.1f} s"
        if self.is_terminal:
            self.line(f"{mark} {text:<{_TIME_COLUMN}}{self.dim(f'{seconds:>8}')}")
        else:
            self.line(f"{verb}{seconds}")

    def _painted(self, text: str, color: str) -> str:
        wants_none = not self.is_terminal or self.environ.get("NO_COLOR")
        return text if wants_none else f"\x1b[{color}m{text}\x1b[0m"


class _Spinner:
    """A line that turns, in a thread of its own."""

    def __init__(self, out: TextIO, frames: str, text: str) -> None:
        self.text = text
        self._out, self._frames = out, frames
        self._start = time.monotonic()
        self._ended = Event()
        self._thread = Thread(target=self._turn, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        print(_CLEAR, end="", file=self._out, flush=True)

    def _turn(self) -> None:
        for frame in cycle(self._frames):
            seconds = f"{time.monotonic() - self._start:.1f} s"
            line = f"{_CLEAR}{frame} {self.text:<{_TIME_COLUMN}}{seconds:>8}"
            print(line, end="", file=self._out, flush=True)
            if self._ended.wait(_FRAME_SECONDS):
                return
