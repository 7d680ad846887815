"""What an upstream's answer means, and when it is asked again."""

import gzip

import pytest

from sd3.errors import (
    ContentPolicyError,
    UpstreamAnswerError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from sd3.http import Limits
from tests.unit.upstreams.calling import SECRET, Serve
from tests.unit.upstreams.misbehaving import Reply, answer, chunked, head, raw


def test_body_headers_and_path_arrive_and_the_answer_comes_back(serve: Serve) -> None:
    client = serve(answer(200, b'{"a": 1}', seed="7"))
    got = client.post(body=b"\x00\xff" * 100_000)
    assert bytes(got.body) == b'{"a": 1}'
    assert got.headers["SEED"] == "7"
    (request,) = client.server.requests
    assert (request.method, request.path) == ("POST", "/draw")
    assert request.body == b"\x00\xff" * 100_000
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("body", [b"", b"half"])
def test_body_that_is_cut_off_is_an_unusable_answer(serve: Serve, body: bytes) -> None:
    client = serve(raw(head(200, content_length="8") + body))
    with pytest.raises(UpstreamAnswerError, match="cut off") as caught:
        client.post()
    assert caught.value.may_have_charged
    assert len(client.server.requests) == 1


def test_chunked_body_is_read_whole(serve: Serve) -> None:
    assert serve(chunked([b"one", b"two" * 1_000_000])).post().body == b"one" + b"two" * 1_000_000


def test_chunked_body_that_is_cut_off_is_an_unusable_answer(serve: Serve) -> None:
    with pytest.raises(UpstreamAnswerError, match="cut off"):
        serve(chunked([b"half"], whole=False)).post()


def test_body_until_the_end_of_the_connection_is_read_whole(serve: Serve) -> None:
    assert serve(raw(head(200) + b"all of it")).post().body == b"all of it"


def test_body_of_any_length_up_to_the_limit_is_read_whole(serve: Serve) -> None:
    body = bytes(range(250)) * 16_000
    assert serve(answer(200, body)).post().body == body


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, bytes(4_000_001)),
        raw(head(200, content_length="9" * 30)),
        chunked([bytes(1_000_000)] * 5),
        raw(head(200) + bytes(4_000_001)),
        answer(200, gzip.compress(bytes(40_000_000)), content_encoding="gzip"),
    ],
    ids=["length", "huge length", "chunked", "until the end", "inflated"],
)
def test_answer_beyond_the_limit_is_not_read(serve: Serve, reply: Reply) -> None:
    with pytest.raises(UpstreamAnswerError, match="more than 4000000 bytes"):
        serve(reply).post()


def test_answer_in_gzip_that_nobody_asked_for_is_read(serve: Serve) -> None:
    client = serve(answer(200, gzip.compress(b"small"), content_encoding="gzip"))
    assert client.post().body == b"small"


def test_answer_in_broken_gzip_is_an_unusable_answer(serve: Serve) -> None:
    with pytest.raises(UpstreamAnswerError):
        serve(answer(200, b"not gzip", content_encoding="gzip")).post()


@pytest.mark.parametrize("status", [429, 503])
def test_busy_upstream_is_asked_again_with_backoff(serve: Serve, status: int) -> None:
    client = serve(answer(status), answer(status), answer(200, b"drawn"))
    assert client.post().body == b"drawn"
    assert client.time.slept == [0.5, 1.0]
    assert len(client.server.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_upstream_that_stays_busy_is_unavailable(serve: Serve, status: int) -> None:
    client = serve(answer(status))
    with pytest.raises(UpstreamUnavailableError, match=f"answered {status}") as caught:
        client.post()
    assert caught.value.retry_after is None
    assert not caught.value.may_have_charged
    assert len(client.server.requests) == 3


@pytest.mark.parametrize(
    ("text", "waited"),
    [
        ("7", 7.5),
        ("0", 0.5),
        ("1.5", 2.0),
        ("Thu, 01 Jan 1970 00:00:09 GMT", 9.5),
        ("Wed, 31 Dec 1969 23:00:00 GMT", 0.5),
        ("soon", 0.5),
        ("-3", 0.5),
        ("nan", 0.5),
        ("1x", 0.5),
    ],
)
def test_retry_after_is_waited_for(serve: Serve, text: str, waited: float) -> None:
    client = serve(answer(429, retry_after=text), answer(200))
    client.post()
    assert client.time.slept == [waited]


def test_retry_after_as_a_date_needs_the_clock_of_the_answer(serve: Serve) -> None:
    client = serve(answer(429, retry_after="Thu, 01 Jan 1970 00:00:09 GMT", date=None), answer(200))
    client.post()
    assert client.time.slept == [0.5]


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("9" * 400, 86_400)])
def test_wait_beyond_the_deadline_is_given_up_at_once(
    serve: Serve, text: str, seconds: float
) -> None:
    client = serve(answer(429, retry_after=text))
    with pytest.raises(UpstreamUnavailableError) as caught:
        client.post(seconds=30)
    assert caught.value.retry_after == seconds
    assert client.time.slept == []
    assert len(client.server.requests) == 1


def test_wait_that_leaves_too_little_time_to_draw_is_given_up(serve: Serve) -> None:
    client = serve(answer(429, retry_after="8"), limits=Limits(min_seconds=2))
    with pytest.raises(UpstreamUnavailableError):
        client.post(seconds=10)
    assert client.time.slept == []


@pytest.mark.parametrize("seconds", [-5, 0, 0.9])
def test_no_call_is_made_without_time_for_it(serve: Serve, seconds: float) -> None:
    client = serve(answer(200), limits=Limits())
    with pytest.raises(UpstreamUnavailableError, match="no time left"):
        client.post(seconds=seconds)
    assert client.server.connections == 0


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 409, 413, 415, 422])
def test_refusals_are_final(serve: Serve, status: int) -> None:
    client = serve(answer(status, b"a body with sk-secret"))
    with pytest.raises(UpstreamRefusedError) as caught:
        client.post()
    assert caught.value.message == f"The upstream answered {status}."
    assert not caught.value.retryable
    assert len(client.server.requests) == 1


@pytest.mark.parametrize("status", [408, 500, 501, 502, 504, 520])
def test_failures_are_unknown_and_not_sent_again(serve: Serve, status: int) -> None:
    client = serve(answer(status))
    with pytest.raises(UpstreamFailedError, match=f"answered {status}") as caught:
        client.post()
    assert caught.value.may_have_charged
    assert caught.value.retryable
    assert len(client.server.requests) == 1


@pytest.mark.parametrize("status", [202, 204])
def test_success_without_a_drawing_is_an_unusable_answer(serve: Serve, status: int) -> None:
    with pytest.raises(UpstreamAnswerError, match=f"answered {status}"):
        serve(answer(status)).post()


def test_redirect_is_not_followed_nor_its_body_read(serve: Serve) -> None:
    other = serve(answer(200))
    client = serve(
        raw(head(307, location=other.server.url, content_length="9" * 12) + bytes(100_000))
    )
    with pytest.raises(UpstreamRefusedError, match="answered 307"):
        client.post()
    assert other.server.connections == 0


def test_upstream_module_reads_refusals_in_part(serve: Serve) -> None:
    seen: list[tuple[int, int]] = []

    def refusal(status: int, body: bytes) -> UpstreamError | None:
        seen.append((status, len(body)))
        return ContentPolicyError("no") if status == 400 else None

    client = serve(answer(400, bytes(1_000_000)), answer(404, b"1234"))
    with pytest.raises(ContentPolicyError):
        client.post(refusal=refusal)
    with pytest.raises(UpstreamRefusedError):
        client.post(refusal=refusal)
    assert seen == [(400, 65_536), (404, 4)]


@pytest.mark.parametrize("token", ["sk-secret\n", "sk-\r\nsecret", "sk-\u00e9", " sk", "sk-\x00"])
def test_token_that_is_no_header_is_refused_without_being_quoted(serve: Serve, token: str) -> None:
    client = serve(answer(200))
    with pytest.raises(UpstreamRefusedError) as caught:
        client.session.post("/", headers={"Authorization": token}, body=b"", deadline=2000)
    assert caught.value.message == "The Authorization for the upstream cannot be sent as a header."
    assert caught.value.__cause__ is None
    assert client.server.connections == 0
