"""One call to an upstream: what its response means, and which key it has."""

import gzip

import pytest

from sd3.errors import (
    ContentPolicyError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
)
from sd3.http.auth import BearerAuth, no_auth
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpLimits
from tests.support.factories.http_caller import SECRET, Caller, FakeKey, Serve
from tests.support.servers.scripted_server import Reply, chunked, head, http_reply, raw


def test_a_request_with_body_headers_and_path_gets_its_response(serve: Serve) -> None:
    client = serve(http_reply(200, b'{"a": 1}', seed="7"))
    got = client.post(body=b"\x00\xff" * 100_000)
    assert bytes(got.body) == b'{"a": 1}'
    assert got.headers["SEED"] == "7"
    (request,) = client.server.requests
    assert (request.method, request.path) == ("POST", "/generate")
    assert request.body == b"\x00\xff" * 100_000
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("body", [b"", b"half"])
def test_a_truncated_body_is_a_lost_connection(serve: Serve, body: bytes) -> None:
    client = serve(raw(head(200, content_length="8") + body))
    with pytest.raises(UpstreamFailedError, match="cut off") as caught:
        client.post()
    assert caught.value.may_have_charged
    assert len(client.server.requests) == 1


def test_chunked_body_is_read_whole(serve: Serve) -> None:
    assert serve(chunked([b"one", b"two" * 1_000_000])).post().body == b"one" + b"two" * 1_000_000


def test_a_truncated_chunked_body_is_a_lost_connection(serve: Serve) -> None:
    with pytest.raises(UpstreamFailedError, match="cut off"):
        serve(chunked([b"half"], whole=False)).post()


def test_body_until_the_end_of_the_connection_is_read_whole(serve: Serve) -> None:
    assert serve(raw(head(200) + b"all of it")).post().body == b"all of it"


def test_body_of_any_length_up_to_the_limit_is_read_whole(serve: Serve) -> None:
    body = bytes(range(250)) * 16_000
    assert serve(http_reply(200, body)).post().body == body


@pytest.mark.parametrize(
    "reply",
    [
        http_reply(200, bytes(4_000_001)),
        raw(head(200, content_length="9" * 30)),
        chunked([bytes(1_000_000)] * 5),
        raw(head(200) + bytes(4_000_001)),
        http_reply(200, gzip.compress(bytes(40_000_000)), content_encoding="gzip"),
    ],
    ids=["length", "huge length", "chunked", "until the end", "inflated"],
)
def test_a_response_over_the_limit_is_not_read(serve: Serve, reply: Reply) -> None:
    with pytest.raises(UpstreamResponseError, match="more than 4000000 bytes"):
        serve(reply).post()


def test_an_unrequested_gzip_response_is_read(serve: Serve) -> None:
    client = serve(http_reply(200, gzip.compress(b"small"), content_encoding="gzip"))
    assert client.post().body == b"small"


def test_a_response_in_broken_gzip_is_unusable(serve: Serve) -> None:
    with pytest.raises(UpstreamResponseError, match="not in its encoding"):
        serve(http_reply(200, b"not gzip", content_encoding="gzip")).post()


@pytest.mark.parametrize(
    ("status", "kind"), [(429, UpstreamThrottledError), (503, UpstreamUnavailableError)]
)
def test_a_busy_upstream_is_unavailable_and_not_retried(
    serve: Serve, status: int, kind: type[UpstreamUnavailableError]
) -> None:
    client = serve(http_reply(status))
    with pytest.raises(kind, match=f"answered {status}") as caught:
        client.post()
    assert type(caught.value) is kind
    assert caught.value.retry_after is None
    assert not caught.value.may_have_charged
    assert len(client.server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("9" * 400, 86_400),
        ("Thu, 01 Jan 1970 00:00:09 GMT", 9),
        ("Wed, 31 Dec 1969 23:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        ("nan", None),
        ("1x", None),
        ("1_0", None),
        ("\xb2", None),
        ("Thu, 99999999999999999999 Nov 2026 22:00:30 GMT", None),
        ("Thu, 26 Nov 99999999999999999999 22:00:30 GMT", None),
        ("Thu, 26 Nov 2026 22:00:30 +99999999999999999999", None),
        ("Thu, 26 Nov 2026 22:00:30", None),
    ],
)
def test_retry_after_is_read(serve: Serve, status: int, text: str, seconds: float | None) -> None:
    client = serve(http_reply(status, retry_after=text))
    with pytest.raises(UpstreamUnavailableError) as caught:
        client.post()
    assert caught.value.retry_after == seconds


def test_retry_after_as_a_date_is_relative_to_the_responses_date(serve: Serve) -> None:
    client = serve(http_reply(429, retry_after="Thu, 01 Jan 1970 00:00:09 GMT", date=None))
    with pytest.raises(UpstreamUnavailableError) as caught:
        client.post()
    assert caught.value.retry_after is None


@pytest.mark.parametrize("seconds", [-5, 0, 0.9])
def test_no_call_starts_without_time_for_it(serve: Serve, seconds: float) -> None:
    client = serve(http_reply(200), limits=HttpLimits())
    with pytest.raises(UpstreamUnavailableError, match="no time left"):
        client.post(seconds=seconds)
    assert client.server.connections == 0


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 409, 413, 415, 422, 501, 505])
def test_a_rejected_call_is_final(serve: Serve, status: int) -> None:
    client = serve(http_reply(status, b"a body with sk-secret"))
    with pytest.raises(UpstreamRefusedError) as caught:
        client.post()
    assert caught.value.message == f"The upstream answered {status}."
    assert not caught.value.retryable
    assert len(client.server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 500, 502, 504, 520])
def test_failures_are_unknown_and_not_sent_again(serve: Serve, status: int) -> None:
    client = serve(http_reply(status))
    with pytest.raises(UpstreamFailedError, match=f"answered {status}") as caught:
        client.post()
    assert caught.value.may_have_charged
    assert caught.value.retryable
    assert len(client.server.requests) == 1


@pytest.mark.parametrize("before", [[103], [102, 103, 103], [100, 102, 199]])
def test_informational_responses_are_read_past(serve: Serve, before: list[int]) -> None:
    early = b"".join(head(status, link="</a.css>") for status in before)
    client = serve(raw(early + head(200, content_length="5") + b"image"))
    assert client.post().body == b"image"
    assert len(client.server.requests) == 1


def test_endless_informational_responses_are_a_lost_connection(serve: Serve) -> None:
    with pytest.raises(UpstreamFailedError):
        serve(raw(head(103) * 1000)).post()


@pytest.mark.parametrize("status", [101, 202, 204])
def test_a_success_without_images_is_an_unusable_response(serve: Serve, status: int) -> None:
    with pytest.raises(UpstreamResponseError, match=f"answered {status}"):
        serve(http_reply(status)).post()


def test_redirect_is_not_followed_nor_its_body_read(serve: Serve) -> None:
    other = serve(http_reply(200))
    client = serve(
        raw(head(307, location=other.server.url, content_length="9" * 12) + bytes(100_000))
    )
    with pytest.raises(UpstreamRefusedError, match="answered 307"):
        client.post()
    assert other.server.connections == 0


def test_upstream_module_explains_error_responses_which_are_read_in_part(serve: Serve) -> None:
    seen: list[tuple[int, str | None, int]] = []

    def explain(response: ErrorResponse) -> UpstreamError | None:
        seen.append((response.status, response.headers.get("NAME"), len(response.body)))
        return ContentPolicyError("no") if response.status == 400 else None

    client = serve(http_reply(400, bytes(1_000_000), name="field_error"), http_reply(404, b"1234"))
    with pytest.raises(ContentPolicyError):
        client.post(explain=explain)
    with pytest.raises(UpstreamRefusedError):
        client.post(explain=explain)
    assert seen == [(400, "field_error", 65_536), (404, None, 4)]


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-\r\nsecret", "sk-\u00e9", " sk", "sk-\x00"])
def test_key_that_cannot_be_a_header_is_an_error_that_does_not_quote_it(
    serve: Serve, key: str
) -> None:
    client = serve(http_reply(200))
    with pytest.raises(UpstreamKeyError) as caught:
        client.post(auth=BearerAuth(FakeKey(key)))
    assert caught.value.message == "The upstream's key cannot be sent as a header."
    assert caught.value.__cause__ is None
    assert client.server.connections == 0


def keys_sent(client: Caller) -> list[str]:
    return [request.headers.get("authorization", "") for request in client.server.requests]


def test_key_that_is_taken_is_not_read_again(serve: Serve) -> None:
    key, client = FakeKey("old"), serve(http_reply(200))
    client.post(auth=BearerAuth(key))
    assert (keys_sent(client), key.rejected) == (["Bearer old"], [])


def test_rejected_key_is_read_again_and_the_new_one_is_tried_once(serve: Serve) -> None:
    key, client = FakeKey("old", "new"), serve(http_reply(401), http_reply(200, b"taken"))
    assert client.post(auth=BearerAuth(key), body=b"the same").body == b"taken"
    assert (keys_sent(client), key.rejected) == (["Bearer old", "Bearer new"], ["old"])
    assert [request.body for request in client.server.requests] == [b"the same"] * 2


@pytest.mark.parametrize(
    ("keys", "sent"),
    [(["old"], ["Bearer old"]), (["old", "newer"], ["Bearer old", "Bearer newer"])],
)
def test_key_that_stays_rejected_is_an_error(
    serve: Serve, keys: list[str], sent: list[str]
) -> None:
    client = serve(http_reply(401))
    with pytest.raises(UpstreamKeyError):
        client.post(auth=BearerAuth(FakeKey(*keys)))
    assert keys_sent(client) == sent


def test_missing_key_is_an_error_unless_the_upstream_may_need_none(serve: Serve) -> None:
    client = serve(http_reply(200))
    with pytest.raises(UpstreamKeyError, match="has no key"):
        client.post(auth=BearerAuth(FakeKey("")))
    assert client.server.connections == 0
    client.post(auth=BearerAuth(FakeKey(""), without_key=no_auth))
    assert keys_sent(client) == [""]


def test_key_that_is_there_at_last_is_used(serve: Serve) -> None:
    client = serve(http_reply(200))
    client.post(auth=BearerAuth(FakeKey("", "new")))
    assert keys_sent(client) == ["Bearer new"]


def test_time_that_reading_the_key_takes_counts(serve: Serve) -> None:
    client = serve(http_reply(200))

    class SlowKey(FakeKey):
        def read(self) -> str:
            client.time.sleep(29.5)
            return super().read()

    with pytest.raises(UpstreamUnavailableError, match="no time left"):
        client.post(seconds=29, auth=BearerAuth(SlowKey()))
    assert client.server.connections == 0
