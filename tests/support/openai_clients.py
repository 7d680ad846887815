"""Clients of OpenAI's Images API: an address and a key, and the SDKs that run on Node."""

import base64
import io
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image

from local.environment import ROOT

NODE: Final = ROOT / ".tools/node/bin/node"
NPM_FOLDER: Final = ROOT / "requirements/npm-clients"


class Door(NamedTuple):
    """What a user changes in a client: its base_url and its key."""

    url: str
    token: str


class Picture(NamedTuple):
    """What the bytes of an image are."""

    format: str | None
    size: tuple[int, int]

    @classmethod
    def read(cls, data: str | bytes | None) -> "Picture":
        """Read a file, or the base64 of one, to its last pixel."""
        assert data is not None
        file = base64.b64decode(data, validate=True) if isinstance(data, str) else data
        image = Image.open(io.BytesIO(file))
        image.load()
        return cls(image.format, image.size)


def run_node(program: Path, *arguments: str | Path, text: str = "") -> str:
    """Run a program of Node to its end, without a proxy; return what it prints."""
    done = subprocess.run(  # noqa: S603 - all of it is ours
        [NODE, program, *arguments],
        cwd=program.parent,
        input=text,
        env={"PATH": os.environ["PATH"], "AI_SDK_LOG_WARNINGS": "false"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def call_node(door: Door, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make the calls of openai_clients.mjs one after another; return `value` or `error` of each."""
    program = Path(__file__).with_suffix(".mjs")
    printed = run_node(program, NPM_FOLDER, text=json.dumps([door._asdict() | c for c in calls]))
    outcomes: list[dict[str, Any]] = json.loads(printed)
    return outcomes
