"""Our own clients: the package as a user installs it, and all that docs/sdk.md shows."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests

from local.environment import ROOT
from tests.support.factories.images import jpeg
from tests.support.openai_clients import NODE, Door, Picture
from tests.support.polling import wait_for
from tests.support.servers.counting_sd3 import HELD_SEED, CountingSd3

UV: Final = ROOT / ".venv/bin/uv"
NPM_FOLDER: Final = ROOT / "requirements/npm-types"
PAGE: Final = (ROOT / "docs/sdk.md").read_text()
SHELL, PYTHON, RECEIVER, TYPESCRIPT = (
    text for _, text in re.findall(r"```(sh|python|ts)\n(.*?)```", PAGE, re.DOTALL)
)
"""The programs of the page, in their order."""


def run(*command: str | Path, door: Door | None = None, cwd: Path | None = None) -> str:
    """Run a command that must succeed, and return what it prints to stdout."""
    done = subprocess.run(  # noqa: S603 - all of it is ours
        command, env=environment(door), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(door: Door | None) -> dict[str, str]:
    named = {"SD3_API_URL": door.url, "SD3_API_TOKEN": door.token} if door else {}
    return {**os.environ, **named}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package and install it into an empty environment; return that one's programs."""
    folder = tmp_path_factory.mktemp("package")
    run(
        *(UV, "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable),
        *("--out-dir", folder, ROOT / "clients/python"),
    )
    [wheel] = folder.glob("*.whl")
    run(UV, "venv", "-q", "--python", sys.executable, folder / "env")
    run(UV, "pip", "install", "-q", "--python", folder / "env", wheel)
    return folder / "env/bin"


def test_the_package_is_typed_and_needs_requests_alone(installed: Path) -> None:
    listed = run(UV, "pip", "list", "-q", "--python", installed / "python", "--format", "freeze")
    names = {line.split("==")[0] for line in listed.splitlines()}
    assert names == {"sd3-client", "requests", "certifi", "charset-normalizer", "idna", "urllib3"}
    run(installed / "python", "-c", "import sd3_client, pathlib as p;"
        "assert p.Path(sd3_client.__file__).with_name('py.typed').exists()")  # fmt: skip


def test_the_commands_of_the_page_write_their_images(
    installed: Path, door: Door, tmp_path: Path
) -> None:
    commands = [line for line in SHELL.splitlines() if line.startswith("sd3 ")]
    for command in commands:
        run("bash", "-c", f'PATH="{installed}:$PATH"; {command}', door=door, cwd=tmp_path)
    written = {file.name: Picture.read(file.read_bytes()) for file in tmp_path.iterdir()}
    assert written == {
        "fox.jpg": Picture("JPEG", (1024, 1024)),
        "hat.png": Picture("PNG", (1024, 1024)),
        **{f"snow-{number}.webp": Picture("WEBP", (1216, 832)) for number in range(4)},
    }


def test_the_program_in_python_writes_its_images(
    installed: Path, door: Door, tmp_path: Path
) -> None:
    (tmp_path / "fox.py").write_text(PYTHON)
    run(installed / "python", "fox.py", door=door, cwd=tmp_path)
    files = [(tmp_path / f"fox-{number}.jpg").read_bytes() for number in range(2)]
    assert [Picture.read(file).format for file in files] == ["JPEG", "JPEG"]
    assert files[0] != files[1]


def test_a_large_init_image_is_uploaded(installed: Path, door: Door, tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(jpeg(2600, 2600, quality=95))
    assert (tmp_path / "large.jpg").stat().st_size > 3_000_000
    command = ("generate", "a fox", "--init", "large.jpg", "-o", "fox.jpg", "--queue")
    assert run(installed / "sd3", *command, door=door, cwd=tmp_path) == "fox.jpg\n"


def test_a_file_of_requests_becomes_a_file_of_results(
    installed: Path, door: Door, tmp_path: Path
) -> None:
    lines = [{"custom_id": "fox", "prompt": "a fox"}, {"custom_id": "owl", "prompt": ""}]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    command: list[str | Path] = [installed / "sd3", "batch", "lines.jsonl", "-o", "results.jsonl"]
    done = subprocess.run(  # noqa: S603 - all of it is ours
        command, cwd=tmp_path, env=environment(door), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "2 total, 1 completed, 1 failed, $0.03" in done.stderr
    results = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert [(each["custom_id"], each["status"]) for each in results] == [
        ("fox", "succeeded"),
        ("owl", "failed"),
    ]


HEARS_CTRL_C: Final = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program that a Ctrl-C ends. A shell lets what it starts in the background ignore it."""


@contextmanager
def held(upstream: CountingSd3) -> Iterator[None]:
    upstream.release.clear()
    try:
        yield
    finally:
        upstream.release.set()


def test_ctrl_c_cancels_the_job_that_waits(
    installed: Path, door: Door, upstream: CountingSd3, http: requests.Session, tmp_path: Path
) -> None:
    stderr = tmp_path / "stderr"
    with held(upstream), stderr.open("w") as lines:
        process = subprocess.Popen(  # noqa: S603 - all of it is ours
            [
                *(sys.executable, "-c", HEARS_CTRL_C, installed / "sd3", "generate", "a fox"),
                *("--queue", "--seed", str(HELD_SEED)),
            ],
            cwd=tmp_path, env=environment(door), stderr=lines,
        )  # fmt: skip
        wait_for(lambda: "queued" in stderr.read_text(), what="queued job")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert "was canceled" in stderr.read_text()
    listed = http.get(f"{door.url}/jobs", headers={"Authorization": f"Bearer {door.token}"})
    assert [job["status"] for job in listed.json()["jobs"]] == ["canceled"]


def typescript(folder: Path, text: str) -> Path:
    """Write a program beside the types, as a user does."""
    for name in ("sd3.d.ts", "tsconfig.json"):
        (folder / name).write_bytes((ROOT / "clients/typescript" / name).read_bytes())
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(NPM_FOLDER / "node_modules")
    (folder / "fox.ts").write_text(text)
    run(NODE, NPM_FOLDER / "node_modules/typescript/bin/tsc", "--project", folder)
    return folder / "fox.ts"


def test_the_program_in_typescript_compiles_and_writes_its_images(
    door: Door, tmp_path: Path
) -> None:
    program = typescript(tmp_path, TYPESCRIPT)
    run(NODE, program, door=door, cwd=tmp_path)
    for number in range(2):
        assert Picture.read((tmp_path / f"fox-{number}.jpg").read_bytes()).format == "JPEG"


def test_what_the_service_would_refuse_does_not_compile(tmp_path: Path) -> None:
    """TypeScript itself fails where an error that is expected does not come."""
    typescript(
        tmp_path,
        """
        import createClient from "openapi-fetch";
        import type { components, paths } from "./sd3.d.ts";
        const api = createClient<paths>();
        // @ts-expect-error the prompt is missing
        await api.POST("/generate/sd3", { body: { num_images: 2 } });
        // @ts-expect-error there is no such format
        await api.POST("/generate/sd3", { body: { prompt: "a fox", image_encoding: "gif" } });
        // @ts-expect-error there is no such route
        await api.GET("/job/{id}", { params: { path: { id: "j1" } } });
        const body: components["schemas"]["GenerateRequest"] = {
          prompt: "a fox", width: 1216, height: 832, seed: [7, null], num_images: 2,
        };
        await api.POST("/generate/sd3", { body });
        // @ts-expect-error there is no such field
        const wrong: components["schemas"]["GenerateRequest"] = { prompt: "a fox", images: 2 };
        """,
    )
