"""What examples/ promises to whoever copies from it."""

import ast
from pathlib import Path
from typing import Final

import pytest

from local.environment import ROOT

FOLDER: Final = ROOT / "examples"
PROGRAMS: Final = sorted(FOLDER.glob("*.py"))


def lines_of_code(program: Path) -> int:
    """Count the lines that are no imports, docstrings, comments or blank."""
    text = program.read_text()
    passed_over = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return sum(
        number not in passed_over and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(text.splitlines(), 1)
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_an_example_is_short_and_says_how_to_run_it(program: Path) -> None:
    assert lines_of_code(program) < 60
    header = ast.get_docstring(ast.parse(program.read_text())) or ""
    assert "pip install" in header
    assert program.name in (FOLDER / "README.md").read_text()
