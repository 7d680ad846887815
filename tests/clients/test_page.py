"""The snippets of docs/doors.md, copied by a reader who changes the address and the key."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from local.environment import ROOT
from tests.support.factories.images import png
from tests.support.openai_clients import NPM_FOLDER, Door, Picture, run_node

ADDRESS: Final = "https://abcde12345.execute-api.eu-central-1.amazonaws.com/v1"
KEY: Final = "YOUR_TOKEN"
PAGE: Final = (ROOT / "docs/doors.md").read_text()
SNIPPETS: Final = re.findall(r"```(python|js)\n(.*?)```", PAGE, re.DOTALL)


def run_python(program: Path) -> None:
    done = subprocess.run(  # noqa: S603 - all of it is ours
        [sys.executable, program],
        cwd=program.parent,
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_page_has_a_snippet_of_each_client() -> None:
    assert [language for language, _ in SNIPPETS] == [
        *("python", "python"), "js", *("js", "js"), "python", "python",
    ]  # fmt: skip


@pytest.mark.parametrize(("language", "snippet"), SNIPPETS)
def test_a_snippet_writes_an_image(language: str, snippet: str, door: Door, tmp_path: Path) -> None:
    assert snippet.count(ADDRESS) == snippet.count(KEY) == 1
    (tmp_path / "sketch.png").write_bytes(png())
    program = tmp_path / {"python": "snippet.py", "js": "snippet.mjs"}[language]
    program.write_text(snippet.replace(ADDRESS, door.url).replace(KEY, door.token))
    if language == "python":
        run_python(program)
    else:
        (tmp_path / "node_modules").symlink_to(NPM_FOLDER / "node_modules")
        run_node(program)
    assert Picture.read((tmp_path / "lighthouse.jpg").read_bytes()).format == "JPEG"
