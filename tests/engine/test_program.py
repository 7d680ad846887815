"""The program with the diffusers engine, over HTTP."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_server.settings import TOKEN_VARIABLE
from tests.support.factories.base64_images import encode_base64
from tests.support.factories.diffusers_images import GREY
from tests.support.servers.model_server import TOKEN, ModelServerClient, decode_images

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
"""On a small machine the imports alone take ten seconds."""
LONG = "never-log-this " * 200
"""Longer than the text encoders read; the libraries' warnings would quote the rest."""


@contextmanager
def program(weights: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the program in fp32, and kill it when the block ends."""
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
def client(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServerClient]:
    """Provide a client of the program; after the tests its log must not hold a prompt."""
    log = tmp_path_factory.mktemp("program") / "log"
    with program(str(weights), log) as process:
        assert process.stdout
        assert select.select([process.stdout], [], [], TIMEOUT_S)[0], log.read_text()
        yield ModelServerClient(process.stdout.readline().removeprefix("listening on ").strip())
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
        assert "never-log-this" not in log.read_text() + process.stdout.read()


def test_two_images_are_generated_and_counted(client: ModelServerClient) -> None:
    assert client.health().json() == {"engine": "diffusers", "ready": True}
    response = client.generate(prompt=LONG, steps=1, num_images=2, seed=7, image_encoding="png")
    first, second = decode_images(response)
    assert (first.format, first.size, second.size) == ("PNG", (1024, 1024), (1024, 1024))
    assert first.tobytes() != second.tobytes()
    assert [image["seed"] for image in response.json()["images"]] == [7, 8]
    assert response.headers["X-Engine"] == "diffusers; Stable Diffusion 3"
    assert response.headers["X-Digital-Source-Type"] == "trainedAlgorithmicMedia"
    metrics = client.metrics()
    assert metrics['model_server_batch_size_bucket{le="2.0"}'] >= 1
    assert metrics["model_server_batch_size_sum"] >= 2


def test_strength_1_is_text_to_image(client: ModelServerClient) -> None:
    plain, *others = (
        client.generate(prompt="a fox", steps=2, seed=3, image_encoding="png", **fields)
        for fields in (
            {},
            {"init_image": encode_base64(GREY), "strength": 1},
            {"init_image": encode_base64(GREY), "strength": 0.5},
        )
    )
    ignored, used = (decode_images(response)[0].tobytes() for response in others)
    assert ignored == decode_images(plain)[0].tobytes()
    assert used != ignored


def test_the_program_exits_and_names_a_wrong_path(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(str(tmp_path / "nowhere"), log) as process:
        assert process.wait(TIMEOUT_S) == 1
        assert process.stdout
        assert process.stdout.read() == ""
    assert f"--weights {tmp_path}/nowhere: there is no such folder" in log.read_text()
    assert "Traceback" not in log.read_text()
