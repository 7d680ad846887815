"""Connections: allowed addresses, reuse and timeouts."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sd3.errors import (
    UpstreamError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.http import transport
from sd3.http.auth import BearerAuth
from sd3.http.session import HttpSession
from tests.support.factories.http_caller import LIMITS, SECRET, FakeKey, FakeTime, Serve
from tests.support.servers.scripted_server import Wire, dripping, head, http_reply, raw, silent


@pytest.mark.parametrize(
    "url",
    [
        "https://image.example",
        "https://image.example/v1/",
        "http://127.0.0.1:8000",
        "http://localhost:8000/",
        "http://[::1]:8000",
        "http://10.1.2.3",
        "http://172.31.255.255",
        "http://192.168.0.7:80",
        "http://[fd00::1]",
        "HTTP://LOCALHOST",
    ],
)
def test_https_anywhere_and_http_nearby_are_fine(url: str) -> None:
    HttpSession(url).close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "image.example",
        "localhost:8000",
        "ftp://127.0.0.1",
        "https://",
        "http://image.example",
        "http://8.8.8.8",
        "http://172.32.0.1",
        "http://127.1",
        "http://localhost.image.example",
        "http://127.0.0.1@image.example",
        "http://[2001:db8::1]",
        "http://127.0.0.1:port",
        "http://[::1",
        "https://user:sk-secret@image.example",
        "https://image.example/?key=sk-secret",
        "https://image.example/#sk-secret",
    ],
)
def test_other_base_urls_are_rejected_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="the upstream's base URL") as caught:
        HttpSession(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_environment_changes_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert serve(http_reply(200, b"here")).post().body == b"here"


def test_a_connection_is_reused_after_any_response(serve: Serve) -> None:
    client = serve(
        http_reply(200, b"one"),
        http_reply(400, b"no"),
        http_reply(429),
        http_reply(200, b""),
        http_reply(200, b"two"),
    )
    client.post()
    with pytest.raises(UpstreamRefusedError):
        client.post()
    with pytest.raises(UpstreamUnavailableError):
        client.post()
    client.post()
    assert client.post().body == b"two"
    assert [request.connection for request in client.server.requests] == [0] * 5


def test_concurrent_calls_use_separate_connections_and_reuse_them(serve: Serve) -> None:
    meeting = threading.Barrier(4)

    def reply(wire: Wire) -> bool:
        meeting.wait(10)
        return http_reply(200, b"together")(wire)

    client = serve(reply)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            list(threads.map(lambda _: client.post(), range(4)))
    assert client.server.connections == 4


def test_cookies_are_not_sent_back(serve: Serve) -> None:
    client = serve(http_reply(200, set_cookie="who=me; Path=/"))
    client.post()
    client.post()
    assert "cookie" not in client.server.requests[1].headers


def test_connection_closed_while_idle_is_replaced(serve: Serve) -> None:
    client = serve(http_reply(200, b"one", keep=False), http_reply(200, b"two"))
    client.post()
    assert client.server.closed.acquire(timeout=10)
    assert client.post().body == b"two"
    assert [request.connection for request in client.server.requests] == [0, 1]


def test_connection_idle_for_long_is_not_used_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(http_reply(200, b"fine"))
    client.post()
    monkeypatch.setattr(transport, "MAX_IDLE_SECONDS", -1)
    assert client.post().body == b"fine"
    assert client.server.connections == 2


def test_connection_lost_after_sending_is_unknown_and_not_sent_again(serve: Serve) -> None:
    client = serve(http_reply(200, b"one"), raw(b""))
    client.post()
    with pytest.raises(UpstreamFailedError, match="lost before the upstream answered") as caught:
        client.post()
    assert caught.value.may_have_charged
    assert caught.value.retryable
    assert len(client.server.requests) == 2


def test_a_response_that_is_no_http_has_an_unknown_outcome(serve: Serve) -> None:
    with pytest.raises(UpstreamFailedError):
        serve(raw(b"220 mail.example ESMTP\r\n")).post()


def test_silence_ends_at_the_deadline_as_unknown(serve: Serve) -> None:
    client = serve(silent)
    with pytest.raises(UpstreamTimeoutError, match="did not answer in time") as caught:
        client.post(seconds=0.5)
    assert caught.value.may_have_charged
    assert len(client.server.requests) == 1


def test_dripping_headers_end_at_the_deadline(serve: Serve) -> None:
    with pytest.raises(UpstreamTimeoutError, match="did not answer in time"):
        serve(dripping(head(200, content_length="0"))).post(seconds=0.5)


def test_dripping_body_ends_at_the_deadline(serve: Serve) -> None:
    start = head(200, content_length="10000")
    with pytest.raises(UpstreamTimeoutError, match="did not end in time"):
        serve(dripping(start + b"x" * 10_000, at_once=len(start))).post(seconds=0.5)


def test_dripping_body_of_unknown_length_ends_at_the_deadline(serve: Serve) -> None:
    start = head(200, transfer_encoding="chunked")
    with pytest.raises(UpstreamTimeoutError, match="did not end in time"):
        serve(dripping(start + b"1\r\nx\r\n" * 10_000, at_once=len(start))).post(seconds=0.5)


def test_dripping_error_response_ends_at_the_deadline_with_its_status(serve: Serve) -> None:
    start = head(422, content_length="10000")
    with pytest.raises(UpstreamRefusedError, match="answered 422"):
        serve(dripping(start + b"x" * 10_000, at_once=len(start))).post(seconds=0.5)


def test_server_that_does_not_read_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        session = HttpSession(f"http://127.0.0.1:{deaf.getsockname()[1]}", limits=LIMITS)
        with pytest.raises(UpstreamError) as caught:
            session.post(
                "/",
                auth=BearerAuth(FakeKey()),
                headers={},
                body=bytes(20_000_000),
                deadline=time.monotonic() + 0.5,
            )
        session.close()
    assert caught.value.may_have_charged


def test_a_connection_that_times_out_is_unavailable(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float] = []

    def no_connection(_address: object, timeout: float, **_options: object) -> socket.socket:
        timeouts.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", no_connection)
    client = serve(http_reply(200))
    with pytest.raises(UpstreamUnavailableError, match=r"\(TimeoutError\)"):
        client.post()
    assert timeouts == [3.0]


def test_time_that_ends_while_connecting_is_unavailable_and_nothing_is_sent(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(address: tuple[str, int], *_args: object, **_options: object) -> socket.socket:
        sock = socket.create_connection(address)
        time.sleep(0.06)
        return sock

    monkeypatch.setattr("urllib3.util.connection.create_connection", slow)
    client = serve(http_reply(200))
    with pytest.raises(UpstreamUnavailableError, match=r"\(TimeoutError\)"):
        client.post(seconds=0.05)
    assert client.server.requests == []


def test_impossible_host_is_unavailable() -> None:
    waits = FakeTime()
    session = HttpSession("https://a..b", clock=waits.clock)
    with pytest.raises(UpstreamUnavailableError, match="LocationParseError"):
        session.post("/", auth=BearerAuth(FakeKey()), headers={}, body=b"", deadline=waits.now + 30)
    session.close()


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_refused_connection_is_unavailable_and_costs_nothing() -> None:
    waits = FakeTime()
    session = HttpSession(f"http://127.0.0.1:{refused_port()}", clock=waits.clock)
    with pytest.raises(UpstreamUnavailableError, match=r"\(ConnectionRefusedError\)") as caught:
        session.post("/", auth=BearerAuth(FakeKey()), headers={}, body=b"", deadline=waits.now + 30)
    session.close()
    assert not caught.value.may_have_charged
