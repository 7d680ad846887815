"""Requests whose bytes no HTTP library would send, to the deployed stack.

The server in front is the embedded AWS's, not API Gateway: what is seen here is that whatever a
front end makes of such bytes, the functions answer it, each request by its own token.
"""

import io
import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from local.stack import Stack

BODY: Final = b'{"prompt": "a fox", "steps": 1}'
LENGTH: Final = b"Content-Length: 31"
CHUNKED: Final = b"Transfer-Encoding: chunked"
CHUNKS: Final = b"1f\r\n" + BODY + b"\r\n0\r\n\r\n"


class Response(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


CUT_OFF: Final = Response(400, b"")
"""Stands for no response at all."""


class Caller:
    """Sends bytes as a client, and reads all that comes back."""

    def __init__(self, stack: Stack, token: str) -> None:
        self.url = urlsplit(stack.api_url)
        self.token = token
        self._stack = stack

    def call(self, *headers: bytes, body: bytes) -> list[Response]:
        """Send a request with a token, and right behind it one without, which ends all."""
        target = self.url.path.encode()
        lines = [
            b"POST %s/generate/sd3 HTTP/1.1" % target,
            b"Host: 127.0.0.1",
            b"Authorization: Bearer " + self.token.encode(),
            *headers,
        ]
        behind = b"GET %s/jobs HTTP/1.1\r\nHost: behind\r\nConnection: close\r\n\r\n" % target
        with socket.create_connection((self.url.hostname, self.url.port), 30) as connection:
            connection.sendall(b"\r\n".join([*lines, b"", body + behind]))
            connection.shutdown(socket.SHUT_WR)
            return list(_responses(b"".join(iter(lambda: connection.recv(65536), b""))))

    def jobs(self) -> list[Any]:
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {self.token}"}
            url = f"{self._stack.api_url}/jobs"
            listed: list[Any] = session.get(url, headers=headers, timeout=30).json()["jobs"]
            return listed


class _Stream(io.BytesIO):
    """Parse what came back with http.client: one response after the other."""

    def makefile(self, _mode: str) -> "_Stream":
        return self

    def close(self) -> None:
        """Stay open: another response may follow."""


def _responses(data: bytes) -> Iterator[Response]:
    stream = _Stream(data)
    while stream.tell() < len(data):
        response = HTTPResponse(stream)  # type: ignore[arg-type] # all it takes of a socket
        response.begin()
        yield Response(response.status, response.read())


@pytest.fixture
def caller(stack: Stack, new_token: Callable[[], str]) -> Caller:
    return Caller(stack, new_token())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((b"Content-Length: 6", CHUNKED), b"0\r\n\r\n"),
        ((b"Content-Length: 3", CHUNKED), CHUNKS),
        ((CHUNKED, b"Content-Length: 3"), CHUNKS),
        ((LENGTH, b"Content-Length: 2"), BODY),
        ((b"Content-Length: 5",), BODY),
        ((b"Content-Length: 1000",), BODY),
        ((b"Content-Length: -1",), BODY),
        ((b"Content-Length: +31",), BODY),
        ((b"Content-Length: 0x1f",), BODY),
        ((b"Content-Length: " + b"9" * 400,), BODY),
        ((b"Content-Length : 31",), BODY),
        ((b"Transfer-Encoding: xchunked",), CHUNKS),
        ((b"Transfer-Encoding: identity, chunked", LENGTH), BODY),
        ((CHUNKED,), b"f" * 18 + b"\r\n" + BODY),
        ((LENGTH, b"X-Folded: a\r\n Authorization: Bearer x"), BODY),
        ((LENGTH, b"X-Bare: a\nIdempotency-Key: b"), BODY),
        ((LENGTH, b"Idempotency-Key: a\r\nIdempotency-Key: b"), BODY),
        ((LENGTH, b"Idempotency-Key: a\0b"), BODY),
        ((LENGTH, b"X(Odd): a"), BODY),
    ],
)
def test_bytes_behind_a_request_are_none_of_its_clients(
    caller: Caller, headers: tuple[bytes, ...], body: bytes
) -> None:
    first, *behind = caller.call(*headers, body=body) or [CUT_OFF]
    assert first.status in {200, 400, 501}
    assert {answer.status for answer in behind} <= {400, 401}
    created = [json.loads(first.body)["id"]] if first.status == 200 else []
    assert [job["id"] for job in caller.jobs()] == created


def test_a_request_is_read_to_its_end_and_the_next_one_by_itself(caller: Caller) -> None:
    for responses in (caller.call(LENGTH, body=BODY), caller.call(CHUNKED, body=CHUNKS)):
        assert [answer.status for answer in responses] == [200, 401]
