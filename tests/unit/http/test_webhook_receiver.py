"""Receivers of webhooks, good and bad: what is known of each POST, and what it can reach."""

import socket
import ssl

import pytest

from sd3.domain.client_url import UrlPolicy
from sd3.http import webhook_receiver
from sd3.http.webhook_receiver import HttpWebhookReceiver
from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Reply,
    dripping,
    head,
    http_reply,
    raw,
    silent,
)

HUGE = head(200, content_length=str(10**9)) + b"x" * 100_000


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_receiver, "SECONDS", 0.5)


@pytest.mark.parametrize(
    ("reply", "status", "error"),
    [
        (http_reply(204), 204, None),
        (http_reply(500), 500, None),
        (http_reply(302, location="http://127.0.0.1:1/"), 302, None),
        (http_reply(410), 410, None),
        (raw(HUGE), 200, None),  # of which the head is read
        (raw(head(103) + head(204)), 204, None),
        (raw(head(103) * 1000), None, "connection"),
        (raw(head(204, endless="x" * 100_000)), None, "connection"),
        (dripping(head(200), seconds=0.2), None, "timeout"),
        (silent, None, "timeout"),
        (raw(b""), None, "connection"),
        (raw(b"SSH-2.0-OpenSSH\r\n"), None, "connection"),
    ],
)
def test_each_answer_is_known_by_its_status_or_by_what_went_wrong(
    reply: Reply, status: int | None, error: str | None
) -> None:
    with MisbehavingServer(reply) as server:
        url = f"{server.url}/hooks?key=1"
        answer = HttpWebhookReceiver(UrlPolicy.LOOPBACK).post(url, {"webhook-id": "m"}, b"{}")
    assert (answer.status, answer.error) == (status, error)
    [received] = server.requests
    assert (received.method, received.path, received.body) == ("POST", "/hooks?key=1", b"{}")
    assert received.headers["webhook-id"] == "m"


def test_a_receiver_can_ask_for_a_wait() -> None:
    with MisbehavingServer(http_reply(429, retry_after="30")) as server:
        answer = HttpWebhookReceiver(UrlPolicy.LOOPBACK).post(server.url, {}, b"{}")
    assert answer.retry_after == 30


def test_a_certificate_of_nobody_is_not_trusted(tls: ssl.SSLContext) -> None:
    with MisbehavingServer(http_reply(204), tls=tls) as server:
        answer = HttpWebhookReceiver(UrlPolicy.LOOPBACK).post(server.url, {}, b"{}")
    assert (answer.error, server.requests) == ("tls", [])


def test_what_listens_on_this_machine_is_not_called() -> None:
    with MisbehavingServer(http_reply(204)) as server:
        receiver = HttpWebhookReceiver(UrlPolicy.PUBLIC)
        port = server.server_address[1]
        urls = [server.url, f"https://127.0.0.1:{port}/", f"https://localhost:{port}/"]
        answers = [receiver.post(url, {}, b"{}") for url in urls]
    assert [one.error for one in answers] == ["address"] * 3
    assert server.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["10.0.0.1"],
        ["127.0.0.1"],
        ["8.8.8.8", "192.168.0.1"],  # one that leads inside is enough
        ["192.88.99.1"],
        ["224.0.0.1"],
        [],
    ],
)
def test_a_name_that_leads_inside_is_not_called(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]
    dialled: list[object] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: answers)
    monkeypatch.setattr("socket.create_connection", lambda *address: dialled.append(address))
    answer = HttpWebhookReceiver(UrlPolicy.PUBLIC).post("https://hooks.example/", {}, b"{}")
    assert (answer.error, dialled) == ("connection", [])


def test_a_name_is_looked_up_once_for_a_post(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    dialled: list[object] = []

    def look_up(host: str, *_: object) -> list[object]:
        looked_up.append(host)
        address = "8.8.8.8" if len(looked_up) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    def dial(address: object, _timeout: float) -> socket.socket:
        dialled.append(address)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    monkeypatch.setattr("socket.create_connection", dial)
    HttpWebhookReceiver(UrlPolicy.PUBLIC).post("https://hooks.example:8443/", {}, b"{}")
    assert (looked_up, dialled) == (["hooks.example"], [("8.8.8.8", 8443)])


def test_a_redirect_is_not_followed() -> None:
    with MisbehavingServer(http_reply(204)) as inside:
        moved = http_reply(307, location=f"{inside.url}/latest/meta-data/")
        with MisbehavingServer(moved) as server:
            answer = HttpWebhookReceiver(UrlPolicy.LOOPBACK).post(server.url, {}, b"{}")
    assert (answer.status, inside.connections) == (307, 0)
