"""The program with real weights' classes, over HTTP."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_server.settings import TOKEN_VARIABLE
from tests.engine.drawing import GREY
from tests.unit.model_server.serving import TOKEN, Client, as_base64, pictures_of

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
"""Importing the libraries alone takes ten seconds on a small machine."""
LONG = "never-log-this " * 200
"""Longer than what the text encoders read; the libraries would like to quote the rest."""


@contextmanager
def program(weights: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the program in fp32, and see that it is gone afterwards."""
    flags = ("--port", "0", "--engine", "diffusers", "--weights", weights, "--dtype", "fp32")
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603 - this interpreter and flags of the tests
            [sys.executable, "-m", "model_server", *flags],
            cwd=ROOT,
            env={**os.environ, TOKEN_VARIABLE: TOKEN, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The program, ready to draw; when it has ended, its log is looked at."""
    log = tmp_path_factory.mktemp("program") / "log"
    with program(str(weights), log) as process:
        assert process.stdout
        assert select.select([process.stdout], [], [], PATIENCE_S)[0], log.read_text()
        yield Client(process.stdout.readline().removeprefix("listening on ").strip())
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        assert "never-log-this" not in log.read_text() + process.stdout.read()


def test_two_pictures_are_drawn_and_counted(served: Client) -> None:
    assert served.health().json() == {"engine": "diffusers", "ready": True}
    answer = served.generate(prompt=LONG, steps=1, num_images=2, seed=7, image_encoding="png")
    first, second = pictures_of(answer)
    assert (first.format, first.size, second.size) == ("PNG", (1024, 1024), (1024, 1024))
    assert first.tobytes() != second.tobytes()
    assert [image["seed"] for image in answer.json()["images"]] == [7, 8]
    assert answer.headers["X-Engine"] == "diffusers; Stable Diffusion 3"
    metrics = served.metrics()
    assert metrics['model_server_batch_size_bucket{le="2.0"}'] >= 1
    assert metrics["model_server_batch_size_sum"] >= 2


def test_strength_1_is_text_to_image(served: Client) -> None:
    plain, *others = (
        served.generate(prompt="a fox", steps=2, seed=3, image_encoding="png", **fields)
        for fields in (
            {},
            {"init_image": as_base64(GREY), "strength": 1},
            {"init_image": as_base64(GREY), "strength": 0.5},
        )
    )
    ignoring, heeding = (pictures_of(answer)[0].tobytes() for answer in others)
    assert ignoring == pictures_of(plain)[0].tobytes()
    assert heeding != ignoring


def test_a_wrong_path_ends_the_program_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(str(tmp_path / "nowhere"), log) as process:
        assert process.wait(PATIENCE_S) == 1
        assert process.stdout
        assert process.stdout.read() == ""
    assert f"--weights {tmp_path}/nowhere: there is no such folder" in log.read_text()
    assert "Traceback" not in log.read_text()
