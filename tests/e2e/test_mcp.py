"""POST /mcp as agents call it: by the mcp package's own client, through the deployed stack."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from PIL import Image

from local.environment import ROOT
from local.stack import Stack
from sd3.api.mcp.messages import PREFIX
from tests.support.operator import Operator

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


def test_limits_and_mistakes_are_results_that_an_agent_can_read(
    talk: Talk, operator: Operator
) -> None:
    token = operator.token("mcp-poor", BUDGET="0.04")
    calls = [("generate_image", {"prompt": "a fox"})] * 2 + [
        ("generate_image", {"prompt": "a fox", "num_images": 9}), ("get_job", {"id": "nothing"}),
        ("generate_image", {"prompt": "x" * 2_000_000}), ("draw", {}),
    ]  # fmt: skip
    *results, unknown = talk(*calls, mode="auto", token=token)["results"]
    assert [one["isError"] for one in results] == [False, True, True, True, True]
    texts = [one["content"][0]["text"] for one in results]
    assert texts[1].startswith("budget_exceeded: ")
    assert "num_images: Input should be less than or equal to 4" in texts[2]
    assert texts[3].startswith("not_found: ")
    assert "prompt: String should have at most 10000 characters" in texts[4]
    assert unknown["error"]["code"] == -32602


def test_a_token_for_reading_generates_nothing(talk: Talk, operator: Operator) -> None:
    token = operator.token("mcp-reader", SCOPES="read")
    calls: list[tuple[str, Any]] = [("generate_image", {"prompt": "a fox"}), ("list_jobs", {})]
    found = talk(*calls, mode="auto", token=token)
    assert found["tools"] == ["get_job", "list_jobs"]
    refused, listed = found["results"]
    assert refused["content"][0]["text"].startswith("forbidden: ")
    assert listed["structuredContent"] == {"jobs": [], "next_cursor": None}


def test_the_program_of_the_documentation_runs(stack: Stack, new_token: Callable[[], str]) -> None:
    [program] = re.findall("```python\n(.*?)```", (ROOT / "docs/mcp.md").read_text(), re.DOTALL)
    done = subprocess.run(  # noqa: S603 - all of it is ours
        [PYTHON, "-c", program], env={"API_URL": stack.api_url, "SD3_TOKEN": new_token()},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "has 1 of 1 images for $0.03." in done.stdout, done.stderr


LIST: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def test_the_gateway_hands_on_what_the_protocol_needs(
    stack: Stack, client: requests.Session
) -> None:
    def sent(body: Any, method: str = "POST", **headers: str) -> tuple[int, int | str]:
        data = body if isinstance(body, str) else json.dumps(body)
        named = {"Content-Type": "application/json"} | headers
        response = client.request(
            method, f"{stack.api_url}/mcp", data=data, headers=named, timeout=30
        )
        answer = response.json()
        error = answer.get("error", {})
        return response.status_code, answer.get("code") or error.get("code", "none")

    assert sent(LIST) == (200, "none")
    assert sent([LIST]) == (400, -32600)
    assert sent("{") == (400, -32700)
    assert sent(LIST, **{"MCP-Protocol-Version": "1900-01-01"}) == (400, -32022)
    assert sent(LIST | {"method": "resources/list"}) == (200, -32601)
    modern = LIST | {"params": {"_meta": {f"{PREFIX}protocolVersion": "2026-07-28"}}}
    assert sent(modern, **{"MCP-Protocol-Version": "2026-07-28"}) == (400, -32602)
    modern["params"]["_meta"][f"{PREFIX}clientCapabilities"] = {}
    assert sent(modern, **{"MCP-Protocol-Version": "2026-07-28"}) == (400, -32020)
    both = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    assert sent(modern, **both) == (200, "none")
    assert sent(modern | {"method": "ping"}, **both | {"Mcp-Method": "ping"}) == (404, -32601)
    assert sent("", "GET") == sent("", "DELETE") == (405, "method_not_allowed")
    del client.headers["Authorization"]
    assert sent(LIST) == (401, "unauthorized")
