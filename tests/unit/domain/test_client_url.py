"""URLs that clients name: which are read, and what a policy makes of them and their addresses."""

import pytest

from sd3.domain.client_url import (
    ClientUrl,
    UrlError,
    UrlPolicy,
    check_policy,
    may_connect,
    read_url,
)

NOT_PUBLIC = "its host is not a public address"
NO_NAME = "its host is not a valid name"
NO_HOST = "its host should be a name or an IPv4 address"
NO_HTTPS = "it should begin with https://"
NO_PORT = "its port should be 443, or 1024 to 65535"
ENCODED = "characters other than visible ASCII, and backslashes, should be encoded"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://images.example/a.png", ("https", "images.example", 443, "/a.png")),
        ("HTTPS://Images.EXAMPLE", ("https", "images.example", 443, "/")),
        ("https://my_bucket.s3.example:8443?a=b", ("https", "my_bucket.s3.example", 8443, "/?a=b")),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443, "/")),
        ("https://8.8.8.8:1024/x", ("https", "8.8.8.8", 1024, "/x")),
        (
            "https://a.example/%7Ea/../b//c?X-Sig=a%2Fb%2f&@:[]",
            ("https", "a.example", 443, "/%7Ea/../b//c?X-Sig=a%2Fb%2f&@:[]"),
        ),
    ],
)
def test_a_url_is_read_and_its_path_stays_as_it_was_written(
    text: str, url: tuple[str, str, int, str]
) -> None:
    read = read_url(text)
    assert read == ClientUrl(*url)
    check_policy(read, UrlPolicy.PUBLIC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", NO_HTTPS),
        ("a.png", NO_HTTPS),
        ("//images.example/a.png", NO_HTTPS),
        ("http://images.example/a.png", NO_HTTPS),
        ("ftp://images.example/a.png", NO_HTTPS),
        ("file:///etc/passwd", NO_HTTPS),
        ("data:image/png;base64,AAAA", NO_HTTPS),
        ("https:/images.example", NO_HTTPS),
        ("https://", NO_HOST),
        ("https:///a.png", NO_HOST),
        ("https://:8443/", NO_HOST),
        ("https://a.example:/", NO_HOST),
        ("https://a.example:8x/", NO_HOST),
        ("https://%31%32%37.0.0.1/", NO_HOST),
        ("https://[::1]/", NO_HOST),
        ("https://[::ffff:127.0.0.1]/", NO_HOST),
        ("https://[64:ff9b::a9fe:a9fe]/", NO_HOST),
        ("https://[2002:a9fe:a9fe::]/", NO_HOST),
        ("https://[::127.0.0.1]/", NO_HOST),
        ("https://[fd00:ec2::254]/", NO_HOST),
        ("https://images.example@127.0.0.1/", "it has a user or a password"),
        ("https://user:secret@images.example/", "it has a user or a password"),
        ("https://images.example/#a", "it has a fragment (#), which is no part of an address"),
        (
            "https://127.0.0.1#@images.example/",
            "it has a fragment (#), which is no part of an address",
        ),
        ("https://127.0.0.1\\@images.example/", ENCODED),
        ("https://images.example/a b", ENCODED),
        ("https://images.example/a\tb", ENCODED),
        ("https://images.example/\r\nHost: x", ENCODED),
        ("https://images.example\0.example/", ENCODED),
        (" https://images.example/", ENCODED),
        ("https://\uff11\uff12\uff17.0.0.1/", ENCODED),
        ("https://127\u30020\u30020\u30021/", ENCODED),
        ("https://bücher.example/", ENCODED),
        ("https://images.example./", NO_NAME),
        ("https://127.0.0.1./", NO_NAME),
        ("https://a..example/", NO_NAME),
        ("https://-a.example/", NO_NAME),
        (f"https://{'a' * 64}.example/", NO_NAME),
        (f"https://{'a.' * 127}example/", NO_NAME),
        ("https://images.example:22/", NO_PORT),
        ("https://images.example:80/", NO_PORT),
        ("https://images.example:0/", NO_PORT),
        ("https://images.example:65536/", NO_PORT),
        ("http://127.0.0.1/", NO_PORT),
        ("https://metadata/", NOT_PUBLIC),
        ("https://2130706433/", NOT_PUBLIC),
        ("https://0x7f000001/", NOT_PUBLIC),
        ("https://0x7f.0.0.0x1/", NOT_PUBLIC),
        ("https://0177.0.0.1/", NOT_PUBLIC),
        ("https://127.1/", NOT_PUBLIC),
        ("https://127.0.0.01/", NOT_PUBLIC),
        ("https://8.8.8/", NOT_PUBLIC),
        ("https://a.127.0.0.1/", NOT_PUBLIC),
        ("https://0.0.0.0/", NOT_PUBLIC),
        ("https://0/", NOT_PUBLIC),
        ("https://10.1.2.3/", NOT_PUBLIC),
        ("https://100.64.0.1/", NOT_PUBLIC),
        ("https://169.254.169.254/latest/meta-data/", NOT_PUBLIC),
        ("https://172.16.0.1/", NOT_PUBLIC),
        ("https://192.168.0.1/", NOT_PUBLIC),
        ("https://192.0.0.8/", NOT_PUBLIC),
        ("https://192.88.99.1/", NOT_PUBLIC),
        ("https://198.18.0.1/", NOT_PUBLIC),
        ("https://224.0.0.1/", NOT_PUBLIC),
        ("https://240.0.0.1/", NOT_PUBLIC),
        ("https://255.255.255.255/", NOT_PUBLIC),
        (f"https://images.example/{'a' * 2048}", "it has more than 2048 characters"),
    ],
)
def test_a_url_of_another_form_is_refused_by_every_policy(text: str, reason: str) -> None:
    with pytest.raises(UrlError) as caught:
        read_url(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "text",
    [
        "https://127.0.0.1/",
        "https://127.8.9.1:8443/",
        "https://localhost/",
        "http://localhost:8000/",
    ],
)
def test_this_machine_is_only_there_for_what_runs_on_it(text: str) -> None:
    url = read_url(text)
    check_policy(url, UrlPolicy.LOOPBACK)
    with pytest.raises(UrlError, match=NOT_PUBLIC):
        check_policy(url, UrlPolicy.PUBLIC)


def test_an_operator_can_refuse_all_urls() -> None:
    with pytest.raises(UrlError, match="calls no addresses"):
        check_policy(read_url("https://images.example/"), UrlPolicy.NONE)
    assert not may_connect("8.8.8.8", UrlPolicy.NONE)


@pytest.mark.parametrize(
    ("address", "allowed_by"),
    [
        ("8.8.8.8", {UrlPolicy.PUBLIC, UrlPolicy.LOOPBACK}),
        ("127.0.0.1", {UrlPolicy.LOOPBACK}),
        ("10.0.0.1", set()),
        ("169.254.169.254", set()),
        ("192.88.99.1", set()),
        ("224.0.0.1", set()),
    ],
)
def test_a_policy_allows_connections_to_addresses(address: str, allowed_by: set[UrlPolicy]) -> None:
    assert {policy for policy in UrlPolicy if may_connect(address, policy)} == allowed_by
