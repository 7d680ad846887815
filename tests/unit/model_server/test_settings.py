"""The settings: what the flags and the environment accept, and the defaults."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from model_server.engines.registry import ENGINES
from model_server.settings import TOKEN_VARIABLE, Settings

MODEL_SERVER = Path(__file__).parents[3] / "model_server"
TOKEN = "token-of-the-tests"


def read(flags: Sequence[str], token: str = TOKEN) -> Settings:
    """Return the settings that these flags and this token give."""
    return Settings.from_command_line(flags, {TOKEN_VARIABLE: token}, engines=ENGINES)


def test_without_a_token_the_program_exits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read([], token="")
    assert caught.value.code == 2
    assert TOKEN_VARIABLE in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        "--engine none",
        "--port http",
        "--max-concurrent 0",
        "--requests-per-minute -1",
        "--max-body-bytes 0",
        "--delay-ms-per-step -1",
        "--delay-ms-per-step nan",
        "--delay-ms-per-step inf",
        "--engine diffusers",
        "--dtype fp8",
        "--offload disk",
        "--max-batch 0",
        "--token secret",
    ],
)
def test_a_wrong_flag_is_rejected(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(shlex.split(flags))
    assert caught.value.code == 2
    assert flags.partition(" ")[0] in capsys.readouterr().err


def test_every_flag_sets_its_field() -> None:
    flags = (
        "--host ::1 --port 1 --engine sketch --max-concurrent 2 --requests-per-minute 3 "
        "--max-body-bytes 4 --delay-ms-per-step 0.5 --weights w --dtype fp16 --offload model "
        "--compile --max-batch 5 --safety-checker s"
    )
    assert read(shlex.split(flags)) == Settings(
        token=TOKEN,
        host="::1",
        port=1,
        engine="sketch",
        max_concurrent=2,
        requests_per_minute=3,
        max_body_bytes=4,
        delay_ms_per_step=0.5,
        weights="w",
        dtype="fp16",
        offload="model",
        compile=True,
        max_batch=5,
        safety_checker="s",
    )


def test_by_default_the_server_listens_on_this_machine_only() -> None:
    settings = read([])
    assert settings == Settings(token=TOKEN)
    assert settings.host == "127.0.0.1"
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_the_command_of_each_container_has_flags_that_the_program_accepts(name: str) -> None:
    lines = (MODEL_SERVER / name).read_text().splitlines()
    [command] = [json.loads(line.removeprefix("CMD")) for line in lines if line.startswith("CMD")]
    assert command[:3] == ["python", "-m", "model_server"]
    assert read(command[3:]).host == "0.0.0.0"  # noqa: S104 - inside the container
