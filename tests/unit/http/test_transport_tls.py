"""Connections over TLS, with a certificate that the test creates."""

import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sd3.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError
from sd3.http.auth import BearerAuth
from sd3.http.session import HttpSession
from tests.support.factories.http_caller import LIMITS, FakeKey, FakeTime
from tests.support.servers.scripted_server import (
    MisbehavingServer,
    dripping,
    head,
    http_reply,
)


def test_tls_connections_are_reused(certificate: Path, tls: ssl.SSLContext) -> None:
    with MisbehavingServer(http_reply(200, bytes(3_000_000)), tls=tls) as server:
        session = HttpSession(server.url, ca_bundle=str(certificate))
        for _ in range(2):
            got = session.post(
                "/",
                auth=BearerAuth(FakeKey()),
                headers={},
                body=b"x" * 1_000_000,
                deadline=time.monotonic() + 30,
            )
            assert got.body == bytes(3_000_000)
        session.close()
    assert [len(request.body) for request in server.requests] == [1_000_000] * 2
    assert server.connections == 1


def test_tls_deadline_holds_for_a_dripping_body(certificate: Path, tls: ssl.SSLContext) -> None:
    start = head(200, content_length="10000")
    drip = dripping(start + b"x" * 10_000, at_once=len(start))
    with MisbehavingServer(drip, tls=tls) as server:
        session = HttpSession(server.url, ca_bundle=str(certificate), limits=LIMITS)
        with pytest.raises(UpstreamTimeoutError):
            session.post(
                "/", auth=BearerAuth(FakeKey()), headers={}, body=b"", deadline=time.monotonic() + 1
            )
        session.close()


def test_unknown_certificate_is_unavailable_and_nothing_is_sent(tls: ssl.SSLContext) -> None:
    waits = FakeTime()
    with MisbehavingServer(http_reply(200), tls=tls) as server:
        session = HttpSession(server.url, clock=waits.clock)
        with pytest.raises(UpstreamUnavailableError, match="SSLCertVerificationError"):
            session.post(
                "/", auth=BearerAuth(FakeKey()), headers={}, body=b"", deadline=waits.now + 30
            )
        session.close()
    assert server.requests == []


def test_tls_deadline_holds_for_a_server_that_reads_slowly(
    certificate: Path, tls: ssl.SSLContext
) -> None:
    ended, received = threading.Event(), bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)

        def read_slowly() -> None:
            accepted, _ = listening.accept()
            with suppress(OSError), tls.wrap_socket(accepted, server_side=True) as sock:
                while (data := sock.recv(16_384)) and not ended.wait(0.02):
                    received.extend(data)

        thread = threading.Thread(target=read_slowly)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        session = HttpSession(url, ca_bundle=str(certificate), limits=LIMITS)
        with pytest.raises(UpstreamError) as caught:
            session.post(
                "/",
                auth=BearerAuth(FakeKey()),
                headers={},
                body=bytes(10_000_000),
                deadline=time.monotonic() + 0.5,
            )
        session.close()
        ended.set()
        thread.join()
    assert caught.value.may_have_charged
    assert len(received) < 10_000_000
