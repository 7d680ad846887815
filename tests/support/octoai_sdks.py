"""OctoAI's own SDKs, pointed at an address: `octoai` of PyPI and `@octoai/sdk` of npm."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from octoai.client import OctoAI
from octoai.environment import OctoAIEnvironment

from local.environment import ROOT

NODE: Final = ROOT / ".tools/node/bin/node"
NPM_FOLDER: Final = ROOT / "requirements/npm-tests"


class Call(NamedTuple):
    """One call of generateSd3: the base URL, and the SDK's own names of fields and options."""

    url: str
    request: Mapping[str, Any]
    token: str = "token"
    options: Mapping[str, Any] = {}


def call_typescript(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Call by the SDK for TypeScript; return `response` or `error` (kind, status, body) of each."""
    run = subprocess.run(  # noqa: S603 - all of it is ours
        [NODE, Path(__file__).with_name("octoai.mjs"), NPM_FOLDER],
        input=json.dumps([call._asdict() for call in calls]),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    outcomes: list[dict[str, Any]] = json.loads(run.stdout)
    return outcomes


def python_client(url: str, token: str, connection: httpx.Client) -> OctoAI:
    """Make a client of the SDK for Python over a connection that no proxy takes part in."""
    service = OctoAIEnvironment(default=url, image_gen=url, text_gen=url)
    return OctoAI(api_key=token, environment=service, httpx_client=connection)
