"""Images that clients name by their URLs: one request, and what its server makes of it."""

import gzip
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from sd3.domain.client_url import UrlError, UrlPolicy
from sd3.http.image_source import ImageSource
from tests.support.factories.certificates import NAMED
from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Reply,
    Wire,
    chunked,
    dripping,
    head,
    http_reply,
    raw,
    silent,
)

LIMIT: Final = 100_000
NOT_FETCHED: Final = "it could not be fetched"
TOO_LATE: Final = "it did not arrive in time"
TOO_LARGE: Final = "it has more than 100000 bytes"
REDIRECTS: Final = "its server redirects: name the address that it leads to"
COMPRESSED: Final = "its server compresses it, though it was asked not to"
BOMB: Final = gzip.compress(bytes(9_000_000))
PATH: Final = "/a%2Fb/%7e/../c.png?X-Signature=s3cret%2B&a=[]"


@pytest.fixture
def serve(tls: ssl.SSLContext) -> Iterator[Callable[[Reply], MisbehavingServer]]:
    with ExitStack() as ends:
        yield lambda reply: ends.enter_context(MisbehavingServer(reply, tls=tls))


Serve = Callable[[Reply], MisbehavingServer]


@pytest.fixture
def fetch(certificate: Path) -> Callable[..., bytes]:
    def fetched(url: str, *, policy: UrlPolicy = UrlPolicy.LOOPBACK, seconds: float = 10) -> bytes:
        source = ImageSource(policy, ca_bundle=str(certificate))
        return source.fetch(url, max_bytes=LIMIT, seconds=seconds)

    return fetched


Fetch = Callable[..., bytes]


def endless(wire: Wire) -> bool:
    """Send a body of 1 GB, until the client has had enough."""
    wire.send(head(200, content_length=None))
    for _ in range(1000):
        wire.send(bytes(1_000_000))
    return False


@pytest.mark.parametrize(
    "reply",
    [
        http_reply(200, b"image", content_type="text/html"),
        http_reply(200, b"image", content_encoding=" Identity"),
        http_reply(200, b"image", content_length=None, keep=False),
        chunked([b"im", b"age"]),
        raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" + head(200, content_length="5") + b"image+more"),
    ],
)
def test_a_body_is_fetched_whatever_its_server_calls_it(
    serve: Serve, fetch: Fetch, reply: Reply
) -> None:
    assert fetch(serve(reply).url) == b"image"


def test_one_request_goes_out_with_the_path_as_it_was_written_and_nothing_of_ours(
    serve: Serve, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("default login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server = serve(http_reply(200, b"image", set_cookie="a=b"))
    for _ in range(2):
        fetch(server.url + PATH)
    for request in server.requests:
        assert (request.method, request.path, request.body) == ("GET", PATH, b"")
        assert request.headers == {
            "host": f"127.0.0.1:{server.server_address[1]}",
            "user-agent": "sd3-image-service",
            "accept": "image/*",
            "accept-encoding": "identity",
            "connection": "close",
        }
    assert (len(server.requests), server.connections) == (2, 2)


def test_a_name_is_dialled_at_its_address_and_asked_for_by_its_name(
    serve: Serve, fetch: Fetch, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, dialled, named = serve(http_reply(200, b"image")), [], []
    tls.sni_callback = lambda _socket, name, _context: named.append(name)

    def look_up(*_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0))]

    def dial(address: Any, timeout: float) -> socket.socket:
        dialled.append(address)
        sock = socket.socket()
        sock.settimeout(timeout)
        sock.connect(server.server_address)
        return sock

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    monkeypatch.setattr("socket.create_connection", dial)
    assert fetch(f"https://{NAMED}/a.png", policy=UrlPolicy.PUBLIC) == b"image"
    assert (dialled, named) == ([("93.184.215.14", 443)], [NAMED])
    assert server.requests[0].headers["host"] == NAMED
    with pytest.raises(UrlError, match=NOT_FETCHED):  # the certificate is for another name
        fetch("https://other.example/a.png", policy=UrlPolicy.PUBLIC)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (http_reply(302, location="https://169.254.169.254/"), REDIRECTS),
        (http_reply(307, location="/b.png"), REDIRECTS),
        (http_reply(404, b"not here"), "its server answered 404"),
        (http_reply(401, www_authenticate="Basic"), "its server answered 401"),
        (http_reply(204), "its server answered 204"),
        (http_reply(206, b"ima"), "its server answered 206"),
        (http_reply(503, retry_after="1"), "its server answered 503"),
        (http_reply(200, BOMB, content_encoding="gzip"), COMPRESSED),
        (http_reply(200, b"x", content_length="1000000000"), TOO_LARGE),
        (http_reply(200, bytes(LIMIT + 1)), TOO_LARGE),
        (chunked([bytes(LIMIT), b"x"]), TOO_LARGE),
        (endless, TOO_LARGE),
        (raw(head(200, content_length="8") + b"half"), NOT_FETCHED),
        (chunked([b"half"], whole=False), NOT_FETCHED),
        (raw(b""), NOT_FETCHED),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), NOT_FETCHED),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000), NOT_FETCHED),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), NOT_FETCHED),
    ],
    ids=range(18),
)  # fmt: skip
def test_a_server_that_sends_no_image_is_asked_once_and_named_by_what_it_did(
    serve: Serve, fetch: Fetch, reply: Reply, reason: str
) -> None:
    server = serve(reply)
    with pytest.raises(UrlError) as caught:
        fetch(server.url + PATH)
    assert str(caught.value) == reason
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        silent,
        dripping(head(200, content_length="5"), seconds=0.02),
        dripping(head(200, content_length="5000") + bytes(5000), seconds=0.02, at_once=120),
    ],
)
def test_a_server_that_drips_is_left_at_the_deadline(
    serve: Serve, fetch: Fetch, reply: Reply
) -> None:
    with pytest.raises(UrlError, match=TOO_LATE):
        fetch(serve(reply).url, seconds=0.4)


def test_nothing_before_a_public_server_answers_can_be_told_apart(
    serve: Serve, fetch: Fetch, tls: ssl.SSLContext
) -> None:
    server = serve(http_reply(200, b"image"))
    with MisbehavingServer(http_reply(200)) as plain, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for url in (
            f"https://localhost:{server.server_address[1]}/",  # a certificate for another host
            f"https://127.0.0.1:{plain.server_address[1]}/",  # no TLS
            f"https://127.0.0.1:{closed.getsockname()[1]}/",  # refused
            "https://no-such-host.invalid/",
        ):
            with pytest.raises(UrlError) as caught:
                fetch(url)
            assert str(caught.value) == NOT_FETCHED
    assert server.requests == []


def test_no_log_has_the_url_or_the_words_of_its_server(
    serve: Serve, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reply = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nno header: s3cret\r\nx\r\n\r\nimage")
    fetch(serve(reply).url + PATH)
    with pytest.raises(UrlError) as caught:
        fetch(serve(http_reply(404)).url + PATH)
    assert "s3cret" not in caplog.text + str(caught.value)
