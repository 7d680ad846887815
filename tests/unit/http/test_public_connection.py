"""Connections to servers that clients name: where they lead, whatever a name is looked up to."""

import socket
import threading
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.exceptions import HTTPError

from sd3.domain.client_url import UrlError, UrlPolicy, read_url
from sd3.http import public_connection
from sd3.http.public_connection import open_connection

PUBLIC: Final = "93.184.215.14"
ADDRESSES: Final = (PUBLIC, "127.0.0.1", "10.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0")  # noqa: S104


class Net:
    """A resolver that gives these answers, one for each call, and a network that leads nowhere."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.dialled: list[tuple[str, int]] = []

    def getaddrinfo(self, host: Any, port: Any, *family_and_type: Any) -> list[Any]:
        assert family_and_type == (socket.AF_INET, socket.SOCK_STREAM)
        self.asked.append(host)
        found = self.answers.pop(0) if self.answers else []
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(*family_and_type, 6, "", (address, port or 0)) for address in found]

    def create_connection(self, address: tuple[str, int], _timeout: float) -> socket.socket:
        self.dialled.append(address)
        raise ConnectionRefusedError


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    net = Net()
    monkeypatch.setattr("socket.getaddrinfo", net.getaddrinfo)
    monkeypatch.setattr("socket.create_connection", net.create_connection)
    return net


def reached(net: Net, url: str, policy: UrlPolicy = UrlPolicy.PUBLIC) -> str:
    """Return what a request to a URL says when it fails, as it always does."""
    connection = open_connection(read_url(url), policy, seconds=5)
    with pytest.raises(HTTPError) as caught:
        connection.request("GET", "/")
    connection.close()
    return str(caught.value).partition(": ")[2]


def test_a_name_is_looked_up_once_and_its_address_is_dialled(net: Net) -> None:
    net.answers = [[PUBLIC], ["127.0.0.1"]]
    reached(net, "https://images.example:8443/a.png")
    assert (net.asked, net.dialled) == (["images.example"], [(PUBLIC, 8443)])


@pytest.mark.parametrize(
    "answer",
    [
        [], ["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"], ["100.64.0.1"], ["0.0.0.0"],  # noqa: S104
        ["224.0.0.1"], ["192.88.99.1"], ["192.168.1.1"], ["172.31.255.255"], ["198.19.0.1"],
        ["255.255.255.255"], [PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC],
    ],
)  # fmt: skip
def test_a_name_with_any_address_that_is_not_public_is_not_dialled(
    net: Net, answer: list[str]
) -> None:
    net.answers = [answer]
    refused = reached(net, "https://images.example/")
    assert net.dialled == []
    net.answers = [[PUBLIC]]
    assert reached(net, "https://images.example/") == refused == "not connected"


def test_loopback_is_dialled_on_one_machine_only(net: Net) -> None:
    net.answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]]
    reached(net, "http://localhost:8000/", UrlPolicy.LOOPBACK)
    reached(net, "https://images.example/", UrlPolicy.LOOPBACK)
    reached(net, "http://localhost:8000/")
    assert net.dialled == [("127.0.0.1", 8000)]


def test_a_resolver_that_does_not_answer_is_given_up(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(public_connection, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: ended.wait(60) and [])
    assert reached(net, "https://images.example/") == "not connected"
    ended.set()


HOSTS: Final = st.one_of(
    st.sampled_from(
        ["images.example", "localhost", "127.1", "0x7f000001", "[::1]", "0", "1.1.1.1"]
    ),
    st.from_regex(r"[0-9a-fx.]{1,20}", fullmatch=True),
    st.ip_addresses().map(str),
    st.text(max_size=20),
)
URLS: Final = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["https", "http", "HTTPS", "gopher", "https:"]),
    st.sampled_from(["", "", "user@", "user:pass@", "images.example\\", "images.example#"]),
    HOSTS,
    st.sampled_from(["", ":443", ":8443", ":80", ":", ":x"]),
    st.one_of(st.sampled_from(["", "/", "/a.png?b=c", "?a", "#a", "/@images.example"]), st.text()),
)


@given(
    url=st.one_of(URLS, st.text()),
    answers=st.lists(
        st.lists(st.one_of(st.sampled_from(ADDRESSES), st.ip_addresses(v=4).map(str)), max_size=3),
        max_size=3,
    ),
)
@example(url="https://images.example/", answers=[[PUBLIC]])
def test_no_url_leads_to_an_address_that_is_not_public(url: str, answers: list[list[str]]) -> None:
    net = Net(*answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.getaddrinfo", net.getaddrinfo)
        patch.setattr("socket.create_connection", net.create_connection)
        try:
            reached(net, url)
        except UrlError:
            assert net.asked == []
    assert len(net.asked) <= 1
    for address, port in net.dialled:
        assert socket.inet_aton(address)[0] not in {0, 10, 127, *range(224, 256)}
        assert address not in ADDRESSES or address == PUBLIC
        assert port == 443 or port >= 1024
