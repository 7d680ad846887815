"""POST /mcp as agents call it: by the mcp package's own client, through the deployed stack."""

import base64
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from PIL import Image

from local.environment import ROOT
from local.stack import Stack

PYTHON: Final = ROOT / ".tools/mcp/bin/python"

ERAS: Final = {"legacy": "2025-11-25", "auto": "2026-07-28"}
"""The client's modes, and the versions that they come to: `auto` begins with server/discover."""

Talk = Callable[..., dict[str, Any]]


@pytest.fixture
def talk(stack: Stack, new_token: Callable[[], str]) -> Talk:
    """Let the client call tools, each with its arguments."""

    def call(*calls: tuple[str, dict[str, Any]], mode: str, token: str = "") -> dict[str, Any]:
        asked = {
            "url": f"{stack.api_url}/mcp", "token": token or new_token(),
            "mode": mode, "calls": calls,
        }  # fmt: skip
        done = subprocess.run(  # noqa: S603 - all of it is ours
            [PYTHON, "-P", Path(__file__).parents[1] / "support/mcp_client.py"],
            input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return call


def job_of(result: dict[str, Any]) -> dict[str, Any]:
    """Read the job of a result, which is its second text."""
    job: dict[str, Any] = json.loads(result["content"][1]["text"])
    return job


@pytest.mark.parametrize(("mode", "version"), ERAS.items())
def test_an_agent_generates_an_image_and_finds_it_again(
    talk: Talk, new_token: Callable[[], str], mode: str, version: str
) -> None:
    token = new_token()
    wide = {"prompt": "a fox in the snow", "aspect_ratio": "16:9", "seed": 7}
    found = talk(("generate_image", wide), ("list_jobs", {}), mode=mode, token=token)
    assert found["version"] == version
    assert found["server"] == "sd3-image-service"
    assert found["tools"] == ["generate_image", "get_job", "list_jobs"]
    made, listed = found["results"]
    assert not made["isError"], made
    job = job_of(made)
    assert (job["status"], job["cost_usd"], job["images"][0]["seed"]) == ("succeeded", 0.03, 7)
    whole = Image.open(io.BytesIO(requests.get(job["images"][0]["url"], timeout=10).content))
    assert whole.size == (1344, 768)
    [preview] = [block for block in made["content"] if block["type"] == "image"]
    shown = base64.b64decode(preview["data"])
    assert Image.open(io.BytesIO(shown)).size == (512, 293)
    assert len(shown) < 48_000
    assert [one["id"] for one in listed["structuredContent"]["jobs"]] == [job["id"]]
    [again] = talk(("get_job", {"id": job["id"]}), mode=mode, token=token)["results"]
    assert job_of(again)["images"][0]["sha256"] == job["images"][0]["sha256"]
