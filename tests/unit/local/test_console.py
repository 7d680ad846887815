"""What a command's steps look like: on a terminal, without colours, and in a file or a pipe."""

import io
import re
from typing import Final

import pytest

from local.console import Console
from tests.support.polling import wait_for

XTERM: Final = {"TERM": "xterm-256color"}


class Screen(io.StringIO):
    """A terminal, or with `terminal=False` a pipe, and what remains to be seen on it."""

    def __init__(self, *, terminal: bool = True, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        text.encode(self._encoding)  # fails, as the stream itself would
        return super().write(text)

    def seen(self) -> list[str]:
        """Return the lines without the text that was overwritten, each with its seconds as N."""
        lines = (line.rsplit("\r\x1b[K", 1)[-1] for line in self.getvalue().split("\n"))
        return [re.sub(r" +\d+\.\d s", " N s", line) for line in lines]


def run_two_steps(console: Console) -> None:
    console.step("embedded AWS")
    console.step("first image")
    console.failed()
    console.line("the end")


MARKED: Final = ["✓ embedded AWS N s", "✗ first image N s"]
PLAIN: Final = ["embedded AWS ... N s", "first image ... failed after N s"]
NO_COLOR: Final = XTERM | {"NO_COLOR": "1"}


@pytest.mark.parametrize(
    ("terminal", "encoding", "environ", "seen"),
    [
        (True, "utf-8", NO_COLOR, MARKED),
        (True, "iso-8859-1", NO_COLOR, ["ok embedded AWS N s", "failed: first image N s"]),
        (True, "utf-8", {"TERM": "dumb"}, PLAIN),
        (True, "utf-8", {}, PLAIN),
        (False, "utf-8", XTERM, PLAIN),
        (False, "ascii", XTERM, PLAIN),
    ],
)
def test_each_step_is_one_line_with_its_time(
    terminal: bool, encoding: str, environ: dict[str, str], seen: list[str]
) -> None:
    screen = Screen(terminal=terminal, encoding=encoding)
    run_two_steps(Console(screen, environ))
    assert screen.seen() == [*seen, "the end", ""]


@pytest.mark.parametrize(("environ", "colored"), [(XTERM, True), (NO_COLOR, False)])
def test_a_terminal_has_colours_unless_it_wants_none(
    environ: dict[str, str], colored: bool
) -> None:
    screen = Screen()
    run_two_steps(Console(screen, environ))
    for painted in ("\x1b[32m✓\x1b[0m embedded AWS", "\x1b[31m✗\x1b[0m first image"):
        assert (painted in screen.getvalue()) == colored


def test_a_line_fits_80_columns_and_its_time_ends_at_the_same_column() -> None:
    screen = Screen()
    console = Console(screen, XTERM | {"NO_COLOR": "1"})
    run_two_steps(console)
    lines = [line.rsplit("\r\x1b[K", 1)[-1] for line in screen.getvalue().split("\n")]
    assert {len(line) for line in lines[:2]} == {50}


def test_a_pipe_gets_no_escapes_and_sees_what_runs() -> None:
    screen = Screen(terminal=False)
    console = Console(screen, XTERM)
    console.step("embedded AWS")
    assert screen.getvalue() == "embedded AWS ... "
    console.spin("something")
    console.clear()
    console.done()
    assert "\x1b" not in screen.getvalue()
    assert "something" not in screen.getvalue()


def test_a_terminal_shows_what_runs_until_it_has_ended() -> None:
    screen = Screen()
    console = Console(screen, XTERM)
    console.spin("position 3")
    wait_for(lambda: "⠙ position 3 " in screen.getvalue(), what="second frame")
    console.spin("position 2")
    wait_for(lambda: "position 2 " in screen.getvalue(), what="other text")
    console.clear()
    assert screen.seen() == [""]
