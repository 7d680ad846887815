"""What is read of an API Gateway event: query, preferences, entity tags and keys."""

import json
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from sd3.api.request import NoQuery, Request
from sd3.domain.client import SCOPES, CacheControl, ClientLimits
from sd3.domain.job import JobStatus
from sd3.domain.job_list import JobsQuery
from sd3.domain.request import UploadRequest
from sd3.errors import InvalidJsonError, InvalidRequestError

NOT_DIGITS = (
    "5_0", "+5", " 5", "5 ", "\u0665", "\uff15", "5.0", "0x5", "1e1", "5\n", "5\0", "0b1", "\u00b2"
)  # fmt: skip
"""What Python, or pydantic, takes for a whole number."""


def request(
    *headers: tuple[str, str], query: tuple[tuple[str, str], ...] = (), **event: Any
) -> Request:
    """Make an event as the gateway makes it: the last value of each name, and the lists of all."""
    lists: dict[str, list[str]] = {}
    for name, text in headers:
        lists.setdefault(name, []).append(text)
    queries: dict[str, list[str]] = {}
    for name, text in query:
        queries.setdefault(name, []).append(text)
    sent = {
        "headers": dict(headers) or None,
        "multiValueHeaders": lists or None,
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": queries or None,
        "httpMethod": "GET",
        "pathParameters": None,
        **event,
    }
    return Request(APIGatewayProxyEvent(sent), seconds=29)


@pytest.mark.parametrize(
    ("values", "name", "content"),
    [
        ([], "wait", None),
        (["respond-async"], "respond-async", ""),
        (["Respond-Async ; x=1"], "respond-async", ""),
        (["wait=5"], "respond-async", None),
        (["respond-async, wait=5"], "wait", "5"),
        (["respond-async", "wait = 5"], "wait", "5"),
        (["wait=5", "wait=6"], "wait", "5"),
        (['wait="7"; why=because'], "wait", "7"),
        (['note="a, wait=3", wait=8'], "wait", "8"),
        (['note="open, wait=3'], "wait", "3"),
        (["waiter=5"], "wait", None),
        ([",,;,=,"], "wait", None),
    ],
)
def test_prefer_is_read_over_all_its_headers(
    values: list[str], name: str, content: str | None
) -> None:
    assert request(*(("Prefer", value) for value in values)).prefers(name) == content


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1", 1), ("20", 20), ("05", 5)])
def test_a_wait_is_whole_seconds(text: str, seconds: int) -> None:
    assert request(("Prefer", f"wait={text}")).wait_seconds() == seconds


@pytest.mark.parametrize(
    "text",
    ["-1", "abc", "1000", "21", "", "1.5", "9" * 5000, *(f'"{text}"' for text in NOT_DIGITS)],
)
def test_another_wait_is_a_fault_of_the_header(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(("Prefer", f"wait={text}")).wait_seconds()
    assert [field_error.loc for field_error in caught.value.field_errors] == [("header", "Prefer")]


def test_no_wait_is_none() -> None:
    assert request().wait_seconds() is None


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        ([], set()),
        (["*"], {"*"}),
        ([' "a"'], {'"a"'}),
        (['W/"a", "b"', 'W/"c,d"'], {'"a"', '"b"', '"c,d"'}),
        (["a"], set()),
        (['"*"'], {'"*"'}),
    ],
)
def test_entity_tags_are_compared_weakly(values: list[str], tags: set[str]) -> None:
    assert request(*(("If-None-Match", value) for value in values)).known_tags() == tags


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b", "~!"])
def test_a_key_is_printable_ascii(key: str) -> None:
    assert request(("idempotency-key", key)).idempotency_key() == key


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b", "a\nb", "a\x7f", "\xe4", "\u00a0"])
def test_another_key_is_a_fault_of_the_header(key: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(("Idempotency-Key", key)).idempotency_key()
    assert [field_error.loc for field_error in caught.value.field_errors] == [
        ("header", "Idempotency-Key")
    ]


def test_two_keys_are_a_fault() -> None:
    with pytest.raises(InvalidRequestError):
        request(("Idempotency-Key", "a"), ("Idempotency-Key", "b")).idempotency_key()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("60s", 60), (" 1m30s ", 90), ("1H", 3600), ("1h1m1", 3661), ("86400", 86_400)],
)
def test_a_time_to_begin_is_seconds_or_hours_minutes_and_seconds(text: str, seconds: int) -> None:
    found = request(("cancel-after", text)).cancel_after()
    assert found == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "-1", "1.5", "1e3", "86401", "25h", "s", "1s1m", "1d", "1 m", "٣", "9" * 30],
)
def test_another_time_to_begin_is_a_fault_of_the_header(text: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        request(("Cancel-After", text)).cancel_after()
    assert error.value.field_errors[0].loc == ("header", "Cancel-After")


def test_two_times_to_begin_are_a_fault() -> None:
    with pytest.raises(InvalidRequestError):
        request(("Cancel-After", "1"), ("Cancel-After", "2")).cancel_after()
    assert request().cancel_after() is None


def test_headers_that_came_once_only_are_read_too() -> None:
    sent = request(headers={"PREFER": "wait=1"}, multiValueHeaders={"Host": ["x"]})
    assert (sent.wait_seconds(), sent.header("prefer")) == (1, "wait=1")
    assert request().idempotency_key() is None


def test_a_query_is_typed_and_has_defaults() -> None:
    assert request().query(JobsQuery) == JobsQuery(status=None, limit=20, cursor=None)
    given = (("status", "failed"), ("limit", "100"), ("cursor", "abc"))
    assert request(query=given).query(JobsQuery) == JobsQuery(
        status=JobStatus.FAILED, limit=100, cursor="abc"
    )


def test_a_query_that_came_once_only_is_read_too() -> None:
    sent = request(queryStringParameters={"limit": "3"})
    assert sent.query(JobsQuery).limit == 3


def test_an_empty_parameter_counts_as_not_given() -> None:
    sent = request(query=(("status", ""), ("limit", "7"), ("cursor", "")))
    assert sent.query(JobsQuery) == JobsQuery(limit=7)


@pytest.mark.parametrize(("method", "is_ignored"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_the_parameter_that_passes_by_caches_means_nothing_to_reads(
    method: str, is_ignored: bool
) -> None:
    sent = request(httpMethod=method, query=(("_", "1764150000"), ("_", "1764150001")))
    if is_ignored:
        assert sent.query(NoQuery) == NoQuery()
    else:
        with pytest.raises(InvalidRequestError):
            sent.query(NoQuery)


NEW = CacheControl(reads=False)


@pytest.mark.parametrize(
    ("values", "cache"),
    [
        ([], CacheControl()),
        (["no-transform, x=1", ",;=,"], CacheControl()),
        (["no-cache"], NEW),
        (["No-Cache"], NEW),
        (["max-age=0"], CacheControl(reads=False, max_age=0)),
        (["max-age=60"], CacheControl(max_age=60)),
        (['max-age = "60"'], CacheControl(max_age=60)),
        (["max-age=2147483648"], CacheControl(max_age=2147483648)),
        (["max-age=60", "no-cache"], CacheControl(reads=False, max_age=60)),
        (["no-store"], CacheControl(reads=False, stores=False)),
        (["only-if-cached"], CacheControl(only_if_cached=True)),
        (["only-if-cached, no-cache"], CacheControl(reads=False, only_if_cached=True)),
    ],
)
def test_cache_control_is_read_over_all_its_headers(values: list[str], cache: CacheControl) -> None:
    assert request(*(("Cache-Control", value) for value in values)).cache_control() == cache


@pytest.mark.parametrize("age", ["", "-1", "x", "6" * 5000, *NOT_DIGITS[:2], "\u0665"])
def test_an_age_that_cannot_be_read_asks_for_a_new_result(age: str) -> None:
    cache = request(("Cache-Control", f"max-age={age}")).cache_control()
    assert cache == CacheControl(reads=False, max_age=0)


@pytest.mark.parametrize(
    ("accepted", "prefers"),
    [
        ([], False),
        (["*/*"], False),
        (["application/json"], True),
        (["Application/JSON; charset=utf-8"], True),
        (["application/json;q=0.9"], True),
        (["application/json, text/plain, */*"], False),
        (["application/json, text/javascript, */*; q=0.01"], True),
        (["text/html", "application/json"], True),
        (["image/avif,image/webp,*/*;q=0.8"], False),
        (["image/png;q=0.5, application/json"], True),
        (["application/json;q=0.5, image/jpeg"], False),
        (["application/json;q=0"], False),
        (["application/json;q=2"], False),
        (["application/json;q=\u0661"], False),
        (["application/*"], False),
        ([",;,"], False),
    ],
)
def test_a_client_prefers_json_if_it_ranks_it_above_images(
    accepted: list[str], prefers: bool
) -> None:
    assert request(*(("Accept", text) for text in accepted)).prefers_json() == prefers


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ((("limit", "0"),), ["limit"]),
        ((("limit", "101"),), ["limit"]),
        ((("limit", "-1"),), ["limit"]),
        ((("limit", "abc"),), ["limit"]),
        ((("limit", "1.5"),), ["limit"]),
        *(((("limit", text),), ["limit"]) for text in NOT_DIGITS),
        ((("limit", ""), ("limit", "")), ["limit"]),
        ((("limit", "9" * 5000),), ["limit"]),
        ((("limit", "5"), ("limit", "5")), ["limit"]),
        ((("cursor", "a"), ("cursor", "b")), ["cursor"]),
        ((("status", "done"),), ["status"]),
        ((("status", "failed"), ("status", "failed")), ["status"]),
        ((("deleted", "1"),), ["deleted"]),
        ((("Limit", "5"), ("status", "x")), ["status", "Limit"]),
        ((("x" * 1000, "1"),), ["x" * 64]),
    ],
)
def test_every_wrong_parameter_of_a_query_is_a_fault(
    query: tuple[tuple[str, str], ...], wrong: list[str]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(query=query).query(JobsQuery)
    assert [field_error.loc for field_error in caught.value.field_errors] == [
        ("query", name) for name in wrong
    ]


def authorized(**values: object) -> Request:
    """Make the gateway's event of a client with this authorizer context."""
    authorizer = {"principalId": "demo", "client_id": "demo", "integrationLatency": 12, **values}
    return request(requestContext={"requestId": "r", "authorizer": authorizer})


@pytest.mark.parametrize(
    ("values", "scopes"),
    [
        ({}, SCOPES),
        ({"scopes": ""}, set()),
        ({"scopes": "read"}, {"read"}),
        ({"scopes": "generate read"}, SCOPES),
    ],
)
def test_scopes_are_those_of_the_token(values: dict[str, str], scopes: set[str]) -> None:
    assert authorized(**values).scopes == scopes


def test_a_client_has_a_name_if_the_authorizer_gave_one() -> None:
    assert authorized().client_name is None
    assert authorized(client_name="anna@example.com").client_name == "anna@example.com"


def test_limits_are_numbers_where_there_are_some() -> None:
    assert authorized().limits == ClientLimits()
    values = {"daily_budget_micros": "5000000", "requests_per_minute": "60", "max_images": "4"}
    assert authorized(**values).limits == ClientLimits(5_000_000, 60, 4)


@pytest.mark.parametrize("context", [{}, {"authorizer": None}, {"authorizer": "x"}])
def test_without_an_authorizer_there_is_no_client(context: dict[str, Any]) -> None:
    assert request(requestContext=context).client_id == ""
    assert authorized().client_id == "demo"


def test_a_body_is_read_as_its_model() -> None:
    sent = request(body='{"content_type": "image/webp"}')
    assert sent.body(UploadRequest) == UploadRequest(content_type="image/webp")


@pytest.mark.parametrize("body", [None, "", "{", "image/png", '{"content_type": NaN}', "\ud800"])
def test_a_body_that_is_no_json_is_a_precise_error(body: str | None) -> None:
    with pytest.raises(InvalidJsonError):
        request(body=body).body(UploadRequest)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("{}", [("content_type",)]),
        ('{"content_type": null}', [("content_type",)]),
        ('{"content_type": "image/gif"}', [("content_type",)]),
        ('{"content_type": 7, "name": "x"}', [("content_type",), ("name",)]),
        (f'{{"content_type": "image/png", "{"x" * 1000}": 1}}', [("x" * 64,)]),
        ('["image/png"]', [()]),
        ("null", [()]),
        (json.dumps({str(n): n for n in range(101)}), [()]),
    ],
)
def test_every_wrong_field_of_a_body_is_a_fault(body: str, wrong: list[tuple[str, ...]]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(body=body).body(UploadRequest)
    assert [field_error.loc for field_error in caught.value.field_errors] == [
        ("body", *loc) for loc in wrong
    ]
