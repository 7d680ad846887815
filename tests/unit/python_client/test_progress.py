"""sd3_client.progress: one line of a terminal, and how much of the wait it says is over."""

import io

import pytest

from sd3_client.models import Job
from sd3_client.progress import Progress, share


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_is_gone_in_the_end() -> None:
    terminal = Terminal()
    with Progress(terminal) as progress:
        progress.update(Job("j1", "running", progress={"done": 3, "of": 4}))
        line = progress.line(progress.began + 65, columns=80)
        assert line == "█" * 18 + "░" * 6 + " running, 3 of 4 images  65 s"
        assert len(progress.line(progress.began, columns=30)) == 29
    assert terminal.getvalue().endswith("\r\x1b[2K")
    assert "\n" not in terminal.getvalue()


def test_a_terminal_without_blocks_has_signs_and_who_knows_nothing_has_no_share() -> None:
    terminal = Terminal()
    terminal.encoding = "ascii"
    progress = Progress(terminal)
    assert progress.line(progress.began, columns=80) == "###" + "-" * 21 + " sent  0 s"


@pytest.mark.parametrize(
    ("stands", "expected"),
    [
        (Job("j", "queued"), None),
        (Job("j", "queued", eta_seconds=30), 0.25),
        (Job("j", "running", eta_seconds=0), 0.99),
        (Job("j", "running", eta_seconds=90, progress={"done": 1, "of": 2}), 0.5),
        (Job("j", "running", progress={"done": 0, "of": 2}), None),
        (Job("j", "succeeded"), 1),
    ],
)
def test_the_bar_shows_the_share_of_the_wait(stands: Job, expected: float | None) -> None:
    assert share(stands, waited=10, since_read=0) == expected
