"""The playground's "copy as", run as its reader does: what arrives is the request of the form."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.factories.images import png
from tests.support.openai_clients import Door, Picture
from tests.support.polling import wait_for
from tests.support.servers.counting_sd3 import CountingSd3
from tests.support.snippets import NODE, TOKEN, copied

PROMPT: Final = 'it\'s a "fox" for $5\\n,\n{x} `ls` \N{FOX FACE}</script>'
FILE_NAME: Final = "the cat's $HOME.png"
PROGRAMS: Final = {
    "curl": ("/bin/bash", "snippet.sh"),
    "python": (sys.executable, "snippet.py"),
    "node": (str(NODE), "snippet.mjs"),
    "openai": (sys.executable, "snippet.py"),
}


def run(kind: str, code: str, door: Door, folder: Path) -> str:
    """Run a snippet by the program that it is for; return what it prints."""
    program, name = PROGRAMS[kind]
    (folder / name).write_text(code)
    done = subprocess.run(  # noqa: S603 - all of it is ours
        [program, name],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", TOKEN: door.token},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("has_image", [False, True], ids=["at once", "init image, queued"])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_is_copied_generates_what_the_form_says(
    kind: str, has_image: bool, door: Door, upstream: CountingSd3, tmp_path: Path
) -> None:
    seed = 700 + 2 * list(PROGRAMS).index(kind) + has_image
    request: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": "$HOME", "seed": seed}
    request |= {"steps": 12, "cfg_scale": 4.5, "width": 1344, "height": 768}
    if has_image:
        image = png()
        (tmp_path / FILE_NAME).write_bytes(image)
        request |= {"init_image": base64.b64encode(image).decode(), "strength": 0.4}
    options = {"baseUrl": door.url, "isAsync": has_image, "fileName": FILE_NAME}
    [snippets] = copied([request], options, tmp_path)
    printed = run(kind, getattr(snippets, kind), door, tmp_path)

    if kind == "curl":
        job = json.loads(printed)
        assert job["status"] == ("queued" if has_image else "succeeded")
    elif kind == "openai":
        assert printed.startswith("http")
    else:
        [file] = tmp_path.glob("*.jpg")
        assert Picture.read(file.read_bytes()) == Picture("JPEG", (1344, 768))
        assert printed.startswith("succeeded ")
    arrived = wait_for(lambda: upstream.asked.get(seed), what="call of the upstream")
    given = {name: value for name, value in request.items() if name != "init_image"}
    assert {name: arrived[name] for name in given} == given
    assert ("init_image" in arrived) is has_image
