"""The playground's "copy as", run as its reader does: what arrives is the request of the form."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests.support.factories.images import png
from tests.support.openai_clients import NPM_FOLDER, Door, Picture, run_node
from tests.support.servers.counting_sd3 import CountingSd3
from tests.support.snippets import NODE, TOKEN, copied

PROMPT: Final = "it's a \"fox\" for $5\\n,\n{x} `ls` \N{FOX FACE}</script>"
FILE_NAME: Final = "the cat's $HOME.png"
KINDS: Final = ("curl", "python", "javascript", "openai")


def run(kind: str, code: str, door: Door, folder: Path) -> str:
    """Run a snippet by the program that it is for; return what it prints."""
    program = {"curl": ["/bin/bash"], "javascript": [str(NODE)]}.get(kind, [sys.executable])
    path = folder / {"curl": "snippet.sh", "javascript": "snippet.mjs"}.get(kind, "snippet.py")
    path.write_text(code)
    done = subprocess.run(  # noqa: S603 - all of it is ours
        [*program, path],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", TOKEN: door.token},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
