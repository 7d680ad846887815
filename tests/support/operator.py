"""The commands of whoever runs the service, and the API as their clients call it."""

import os
import subprocess
from typing import Any

import requests

from local.environment import ROOT, bare
from local.stack import Stack


class Operator:
    """Runs make for the stack, as for one on AWS, whose address is in the environment."""

    def __init__(self, stack: Stack) -> None:
        self._env = bare(os.environ) | stack.aws

    def make(self, target: str, **said: str) -> list[str]:
        """The lines that a command prints that works."""
        done = self.run(target, **said)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def run(self, target: str, **said: str) -> subprocess.CompletedProcess[str]:
        arguments = [f"{name}={text}" for name, text in said.items()]
        return subprocess.run(  # noqa: S603 - as a user runs it
            ["make", "-s", target, "STACK=sd3", *arguments],  # noqa: S607
            cwd=ROOT,
            env=self._env,
            check=False,
            capture_output=True,
            text=True,
        )

    def token(self, client: str, **said: str) -> str:
        return self.make("token", CLIENT=client, **said)[-1]


class Api:
    """The API, called with one token or another."""

    def __init__(self, stack: Stack, http: requests.Session) -> None:
        self._url, self._http = stack.api_url, http

    def get(self, token: str, path: str = "/jobs") -> requests.Response:
        return self._http.get(f"{self._url}{path}", headers=_bearer(token))

    def generate(self, token: str, *, prefer: str | None = None, **body: Any) -> requests.Response:
        said = {"prompt": "a fox", **body}
        headers = _bearer(token) | ({"Prefer": prefer} if prefer else {})
        return self._http.post(f"{self._url}/generate/sd3", json=said, headers=headers)

    def post(self, token: str, path: str) -> requests.Response:
        return self._http.post(f"{self._url}{path}", headers=_bearer(token))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def outcome(response: requests.Response) -> tuple[int, str | None]:
    """Status and, of an error, its code."""
    return response.status_code, None if response.ok else response.json()["code"]
