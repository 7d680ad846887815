"""The run book's commands exist, with their options, and name what the template has."""

import re
from typing import Final

import pytest

from tests.support.factories.template import ROOT, translated
from tests.support.run_book import Command, aws_call, commands, named_resources

MAKEFILE: Final = (ROOT / "Makefile").read_text()


def recipe(target: str) -> str:
    """Return the recipe of a target of the Makefile. Fails if there is none."""
    [found] = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    "command", [*commands()], ids=lambda command: f"{command[0]}: {command[2]}"
)
def test_a_command_exists_with_its_options(command: Command) -> None:
    program, target, *options = command.words
    if program == "make":
        used = set(re.findall(r"\$\((\w+)\)|,(\w+)\)|\$\(or \$\((\w+)\)", recipe(target)))
        names = {name for each in used for name in each}
        assert {option.split("=")[0] for option in options} <= names
    else:
        assert program == "aws"
        assert aws_call(command.words, lambda name: name)
    assert set(named_resources(command.line)) <= set(translated())


def test_every_page_says_how_to_look_and_what_to_do() -> None:
    sections: dict[str, set[str]] = {}
    for command in commands():
        sections.setdefault(command.page, set()).add(command.section)
    for page in (ROOT / "docs/runbook").glob("*.md"):
        assert "Look" in sections[page.stem], page
        assert "\n## Do\n" in page.read_text()


@pytest.mark.parametrize(
    "line", ["aws logs tails group", "aws sqs purge-queue --queue jobs", "aws ec3 start"]
)
def test_a_command_that_does_not_exist_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"tails|queue|ec3"):
        aws_call(line.split(), lambda name: name)
