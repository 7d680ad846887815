"""What examples/ promises to whoever copies from it."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from local.environment import ROOT
from tools.translation import default_values, packaged, read_template, translate

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


def test_the_template_of_the_pipeline_has_what_its_program_reads(tmp_path: Path) -> None:
    [resources] = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "template.yaml"
    file.write_text(f"Parameters: {{Images: {{Type: String}}, Own: {{Type: String}}}}\n{resources}")
    template = read_template(file)
    translated = translate(packaged(template), default_values(template))["Resources"]
    function = translated["Pipeline"]["Properties"]
    read_at_start = re.findall(r'environ\["(\w+)"\]', (FOLDER / "s3_pipeline.py").read_text())
    assert {*read_at_start} - {*function["Environment"]["Variables"]} == {"INBOX_BUCKET"}
    assert function["Handler"] == "s3_pipeline.handler"
    pattern = translated["PipelineEnded"]["Properties"]["EventPattern"]
    assert pattern["source"] == ["sd3.jobs"]
