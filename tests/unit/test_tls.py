"""Connections over TLS: who is trusted, and that the certificates of CAs are read once."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import SSLError
from certifi import where

from sd3.adapters.aws import Aws
from sd3.http.auth import BearerAuth
from sd3.http.session import HttpSession
from sd3.http.transport import BareSession
from sd3.tls import tls_context
from tests.support.factories.http_caller import FakeKey
from tests.support.servers.scripted_server import MisbehavingServer, http_reply

CALLS = 3

Read = list[Any]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """Provide the list of the files of CA certificates that are read in a fresh process."""
    files: Read = []
    load = ssl.SSLContext.load_verify_locations

    def loaded(context: ssl.SSLContext, file: Any = None, *more: Any) -> None:
        files.append(file)
        load(context, file, *more)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", loaded)
    tls_context.cache_clear()
    yield files
    tls_context.cache_clear()


@pytest.fixture
def server(tls: ssl.SSLContext) -> Iterator[MisbehavingServer]:
    """Provide a server that closes each connection after a response."""
    with MisbehavingServer(http_reply(200, b"{}", keep=False), tls=tls) as server:
        yield server


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, server: MisbehavingServer, certificate: Path) -> Aws:
    """Provide clients for the server, as AWS, whose certificate they trust."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    return Aws()


def test_connections_to_aws_read_the_certificates_once(
    aws: Aws, server: MisbehavingServer, certificate: Path, read: Read
) -> None:
    calls: list[Callable[[], object]] = [aws.dynamodb.list_tables, aws.secrets.list_secrets]
    assert read == [str(certificate)]  # when a client is made, and by no call
    for _ in range(CALLS):
        for call in calls:
            call()
    assert server.connections == len(calls) * CALLS
    assert read == [str(certificate)]


def test_connections_to_an_upstream_read_the_certificates_once(
    server: MisbehavingServer, certificate: Path, read: Read
) -> None:
    with closing(HttpSession(server.url, ca_bundle=str(certificate))) as session:
        for _ in range(CALLS):
            deadline = time.monotonic() + 30
            session.post("/", auth=BearerAuth(FakeKey()), headers={}, body=b"", deadline=deadline)
            assert server.closed.acquire(timeout=10)  # or the next call might take this connection
    assert server.connections == CALLS
    assert read == [str(certificate)]


def test_sessions_one_after_another_read_the_certificates_once(
    server: MisbehavingServer, certificate: Path, read: Read
) -> None:
    for _ in range(CALLS):
        with BareSession() as session:
            session.verify = str(certificate)
            session.get(server.url, timeout=30)
    assert read == [str(certificate)]


def test_aws_and_upstreams_share_what_was_read(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # botocore obeys it
    aws = Aws()
    assert aws.dynamodb.meta.endpoint_url.startswith("https:")
    with BareSession() as session, pytest.raises(requests.ConnectionError):
        session.get("https://127.0.0.1:1", timeout=1)
    assert read == [where()]


def test_what_one_file_names_is_not_trusted_by_others(
    aws: Aws, server: MisbehavingServer, read: Read
) -> None:
    aws.dynamodb.list_tables()
    with BareSession() as session, pytest.raises(requests.ConnectionError):
        session.get(server.url, timeout=30)
    assert len(server.requests) == 1


def test_an_aws_whose_certificate_nobody_signed_is_refused(
    monkeypatch: pytest.MonkeyPatch, aws: Aws, server: MisbehavingServer
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(SSLError):
        aws.dynamodb.list_tables()
    assert server.requests == []


def test_the_host_of_a_certificate_is_checked(
    monkeypatch: pytest.MonkeyPatch, aws: Aws, server: MisbehavingServer
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(SSLError):
        aws.dynamodb.list_tables()


def test_without_tls_nothing_is_read(monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert Aws().dynamodb.meta.endpoint_url == "http://127.0.0.1:1"
    assert read == []
