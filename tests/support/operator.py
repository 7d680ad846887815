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

    def make(self, target: str, **options: str) -> list[str]:
        """Run a command that must succeed, and return the lines that it prints."""
        done = self.run(target, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def run(self, target: str, **options: str) -> subprocess.CompletedProcess[str]:
        arguments = [f"{name}={text}" for name, text in options.items()]
        return subprocess.run(  # noqa: S603 - as a user runs it
            ["make", "-s", target, "STACK=sd3", *arguments],  # noqa: S607
            cwd=ROOT,
            env=self._env,
            check=False,
            capture_output=True,
            text=True,
        )

    def token(self, client: str, **options: str) -> str:
        return self.make("token", CLIENT=client, **options)[-1]


class Api:
    """The API, called with one token or another."""

    def __init__(self, stack: Stack, http: requests.Session) -> None:
        self._url, self._http = stack.api_url, http

    def get(self, token: str, path: str = "/jobs") -> requests.Response:
        return self._http.get(f"{self._url}{path}", headers=_bearer(token))

    def generate(self, token: str, *, prefer: str | None = None, **body: Any) -> requests.Response:
        options = {"prompt": "a fox", **body}
        headers = _bearer(token) | ({"Prefer": prefer} if prefer else {})
        return self._http.post(f"{self._url}/generate/sd3", json=options, headers=headers)

    def post(self, token: str, path: str) -> requests.Response:
        return self._http.post(f"{self._url}{path}", headers=_bearer(token))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def outcome(response: requests.Response) -> tuple[int, str | None]:
    """Status and, of an error, its code."""
    return response.status_code, None if response.ok else response.json()["code"]
