"""The playground's snippets, made and sent by Node as its page does it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from local.environment import ROOT

NODE: Final = ROOT / ".tools/node/bin/node"
TOKEN: Final = "SD3_API_TOKEN"
"""The variable that holds the token of whoever runs a snippet."""


class Copied(NamedTuple):
    """What there is to copy for one request, and what the JavaScript of it sends."""

    curl: str
    python: str
    node: str
    openai: str
    sent: dict[str, Any]


def copied(
    requests: Sequence[Mapping[str, Any]], options: Mapping[str, Any], folder: Path
) -> list[Copied]:
    """Make the snippets of requests; `folder` is where their JavaScript finds files."""
    source = (files("sd3.api.playground") / "snippets.js").read_text(encoding="utf-8")
    calls = [{"request": request, "options": options} for request in requests]
    done = subprocess.run(  # noqa: S603 - all of it is ours
        [NODE, Path(__file__).with_suffix(".mjs")],
        cwd=folder,
        input=json.dumps({"source": source, "calls": calls}),
        env={TOKEN: "sd3_secret"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Copied(**answer) for answer in json.loads(done.stdout)]
