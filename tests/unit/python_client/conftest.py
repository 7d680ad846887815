"""A service that follows a script, and a client of it that waits for nothing."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sd3_client import Client
from tests.support.servers.scripted_server import MisbehavingServer, Reply, http_reply

Scripted = Callable[..., tuple[Client, MisbehavingServer]]


def answer(status: int = 200, body: object = None, **headers: Any) -> Reply:
    return http_reply(status, json.dumps(body).encode(), **headers)


def job(status: str = "succeeded", images: int = 1, **fields: Any) -> dict[str, Any]:
    """Make a job's JSON as far as every version of the service has it."""
    link = {"url": "https://link", "width": 64, "height": 64, "content_type": "image/jpeg"}
    count = images if status == "succeeded" else 0
    made = [{"index": index, "seed": 7 + index, **link} for index in range(count)]
    return {"id": "j1", "status": status, "images": made, **fields}


def batch(status: str, error: object = None, **counts: int) -> dict[str, Any]:
    return {"id": "b1", "status": status, "request_counts": counts, "error": error}


def error(code: str, **fields: Any) -> dict[str, Any]:
    return {"code": code, "message": "It is so.", "request_id": "r1", **fields}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have slept, one pause after another."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def scripted(pauses: list[float]) -> Iterator[Scripted]:
    """Start a server that gives these replies, and make a client of it."""
    servers: list[MisbehavingServer] = []

    def start(*script: Reply) -> tuple[Client, MisbehavingServer]:
        server = MisbehavingServer(*script)
        server.__enter__()
        servers.append(server)
        return Client(server.url, "sd3_token", retries=3), server

    yield start
    for server in servers:
        server.__exit__(None, None, None)
