"""The jobs API: the function on moto, called through the sample events."""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.counts import ClientCounts
from sd3.adapters.s3.images import ImageStore
from sd3.responses import render
from sd3.responses.models import TIME_PATTERN
from tests.integration.conftest import Functions, forget_process, load_event
from tests.support.factories.images import png
from tests.support.fakes.ports import FakeUpstream

LIKE_A_TIME: Final = re.compile(r'"(\d{4}-\d\d-\d\d[T ][^"]*)"')
ROUTES = ["job", "cancel", "delete", "image"]


def event(name: str, *, client_id: str = "demo", **headers: str) -> dict[str, Any]:
    """Make a sample event with other headers (`_` for `-`), or of another client."""
    sample = load_event(name)
    sample["requestContext"]["authorizer"]["client_id"] = client_id
    sample["headers"] |= {name.replace("_", "-"): text for name, text in headers.items()}
    return sample


def listing(**query: str) -> dict[str, Any]:
    return event("list_jobs") | {
        "queryStringParameters": query or None,
        "multiValueQueryStringParameters": {k: [v] for k, v in query.items()} or None,
    }


def queued(functions: Functions, job_id: str | None = None) -> dict[str, Any]:
    """Create a queued job and return the response."""
    sample = load_event("generate")
    sample["headers"]["Prefer"] = "respond-async"
    if job_id:
        sample["requestContext"]["extendedRequestId"] = job_id
    response = functions.generate(sample)
    assert response["statusCode"] == 202
    return response


@pytest.mark.parametrize("padding", ["=", "%3D", "%3d", "=="])
def test_every_route_takes_an_id_as_the_gateway_writes_it(
    functions: Functions, padding: str
) -> None:
    generated = functions.generate(load_event("generate"))["json"]
    for name, status in (("job", 200), ("image", 302), ("cancel", 409), ("delete", 204)):
        sample = event(name)
        sample["pathParameters"]["id"] += padding
        assert functions.jobs(sample)["statusCode"] == status
    assert "=" not in generated["id"]


def test_a_generated_job_is_read_back_with_a_fresh_link(functions: Functions) -> None:
    generated = functions.generate(load_event("generate"))["json"]
    response = functions.jobs(event("job"))
    assert response["statusCode"] == 200
    read = response["json"]
    assert read["images"][0]["url"]
    for one in (generated, read):
        one["images"][0].pop("url")
        one["images"][0].pop("expires_at")
    assert read == generated


def test_another_clients_job_is_a_404_just_as_none_at_all(functions: Functions) -> None:
    missing = functions.jobs(event("job"))
    functions.generate(load_event("generate"))
    other = functions.jobs(event("job", client_id="somebody-else"))
    assert missing["statusCode"] == other["statusCode"] == 404
    assert missing["json"] == other["json"]
    assert other["json"]["code"] == "not_found"


@pytest.mark.parametrize("job_id", ["x" * 3000, "..%2f..", "%00", "ä", "a b"])
def test_an_id_that_cannot_be_is_a_404(functions: Functions, job_id: str) -> None:
    response = functions.jobs(event("job") | {"pathParameters": {"id": job_id}})
    assert response["statusCode"] == 404
    assert response["json"]["code"] == "not_found"


def test_health_touches_nothing(functions: Functions, aws: Aws) -> None:
    aws.dynamodb.delete_table(TableName="jobs")
    response = functions.jobs(load_event("health"))
    assert (response["statusCode"], response["json"]) == (200, {"status": "ok"})


def test_an_unknown_route_is_a_404_in_our_shape(functions: Functions) -> None:
    response = functions.jobs(load_event("health") | {"resource": "/nowhere"})
    assert response["statusCode"] == 404
    assert response["json"]["code"] == "not_found"


def test_no_route_reveals_another_clients_job(functions: Functions) -> None:
    functions.generate(load_event("generate"))
    for name in ROUTES:
        response = functions.jobs(event(name, client_id="somebody-else"))
        assert (response["statusCode"], response["json"]["code"]) == (404, "not_found")
    assert functions.jobs(event("job"))["statusCode"] == 200


def test_polling_with_the_tag_is_a_304_that_signs_nothing(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions.generate(load_event("generate"))
    first = functions.jobs(event("job"))
    tag = first["headers"]["ETag"]
    signed: list[str] = []
    monkeypatch.setattr(ImageStore, "sign", lambda _self, key, **_: signed.append(key))
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = functions.jobs(event("job", If_None_Match=known))
        assert (again["statusCode"], again["body"]) == (304, "")
        assert again["headers"] == {"ETag": tag, "Cache-Control": "private, no-cache"}
    assert not signed


def test_polling_with_another_tag_returns_the_job(functions: Functions) -> None:
    queued(functions)
    assert functions.jobs(event("job", If_None_Match='"other"'))["statusCode"] == 200


def test_a_waiting_job_has_a_retry_after(functions: Functions) -> None:
    queued(functions)
    response = functions.jobs(event("job", Prefer="wait=0"))
    assert (response["statusCode"], response["json"]["status"]) == (200, "queued")
    assert response["headers"]["Retry-After"] == "2"
    assert response["headers"]["Preference-Applied"] == "wait=0"
    known = functions.jobs(event("job", If_None_Match=response["headers"]["ETag"]))
    assert (known["statusCode"], known["headers"]["Retry-After"]) == (304, "2")


def test_a_job_that_has_ended_is_not_waited_for(functions: Functions) -> None:
    functions.generate(load_event("generate"))
    response = functions.jobs(event("job", Prefer="wait=20"))
    assert response["headers"]["Preference-Applied"] == "wait=20"
    assert "Retry-After" not in response["headers"]


def test_a_client_with_too_many_waits_gets_the_job_as_it_is(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued(functions)
    monkeypatch.setattr(ClientCounts, "count_wait", lambda *_, **__: False)
    response = functions.jobs(event("job", Prefer="wait=20"))
    assert (response["statusCode"], response["json"]["status"]) == (200, "queued")
    assert response["headers"]["Retry-After"] == "2"
    assert "Preference-Applied" not in response["headers"]


def test_a_wait_that_cannot_be_is_a_422(functions: Functions) -> None:
    for wait in ("-1", "abc", "1000", "21", ""):
        response = functions.jobs(event("job", Prefer=f"wait={wait}"))
        assert response["statusCode"] == 422
        assert response["json"]["detail"][0]["loc"] == ["header", "Prefer"]


@pytest.mark.parametrize("max_bytes", [4_000_000, 1])
def test_jobs_are_listed_in_pages(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    monkeypatch.setattr(render, "MAX_PAGE_BYTES", max_bytes)
    for n in range(5):
        queued(functions, f"job-{n}")
    seen: list[list[str]] = []
    query = {"limit": "2"}
    while query:
        response = functions.jobs(listing(**query))
        assert response["statusCode"] == 200
        seen.append([job["id"] for job in response["json"]["jobs"]])
        cursor = response["json"]["next_cursor"]
        query = {"limit": "2", "cursor": cursor} if cursor else {}
    whole = [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    assert seen == (whole if max_bytes > 1 else [[f"job-{n}"] for n in (4, 3, 2, 1, 0)])


def test_the_sample_lists_jobs_that_succeeded_with_links(functions: Functions) -> None:
    queued(functions, "waits")
    generated = functions.generate(load_event("generate"))["json"]
    response = functions.jobs(event("list_jobs"))
    (job,) = response["json"]["jobs"]
    assert (job["id"], response["json"]["next_cursor"]) == (generated["id"], None)
    assert job["images"][0]["url"]
    assert response["headers"]["Cache-Control"] == "no-store"


def test_a_client_without_jobs_has_an_empty_list(functions: Functions) -> None:
    queued(functions)
    response = functions.jobs(event("list_jobs", client_id="somebody-else"))
    assert response["json"] == {"jobs": [], "next_cursor": None}


def test_a_query_that_cannot_be_is_a_422(functions: Functions) -> None:
    wrong = {"limit": "101", "status": "done", "cursor": "forged", "page": "2"}
    for name, text in wrong.items():
        response = functions.jobs(listing(**{name: text}))
        assert (response["statusCode"], response["json"]["code"]) == (422, "validation_error")
        assert [field_error["loc"] for field_error in response["json"]["detail"]] == [
            ["query", name]
        ]


def test_another_clients_cursor_is_a_422(functions: Functions) -> None:
    for n in range(2):
        queued(functions, f"job-{n}")
    cursor = functions.jobs(listing(limit="1"))["json"]["next_cursor"]
    other = listing(cursor=cursor)
    other["requestContext"]["authorizer"]["client_id"] = "somebody-else"
    assert functions.jobs(other)["statusCode"] == 422


def test_a_job_is_canceled_once(functions: Functions) -> None:
    queued(functions)
    canceled = functions.jobs(event("cancel"))
    assert (canceled["statusCode"], canceled["json"]["status"]) == (200, "canceled")
    again = functions.jobs(event("cancel"))
    assert (again["statusCode"], again["json"]["code"]) == (409, "not_cancelable")


def test_a_deleted_job_is_gone_with_its_images(functions: Functions, aws: Aws) -> None:
    functions.generate(load_event("generate"))
    deleted = functions.jobs(event("delete"))
    assert (deleted["statusCode"], deleted["body"]) == (204, "")
    assert "Content-Type" not in deleted["headers"]
    assert "Contents" not in aws.s3.list_objects_v2(Bucket="images")
    for name in ROUTES:
        response = functions.jobs(event(name))
        assert (response["statusCode"], response["json"]["code"]) == (410, "gone")
        other = functions.jobs(event(name, client_id="somebody-else"))
        assert (other["statusCode"], other["json"]["code"]) == (404, "not_found")
    assert functions.jobs(listing())["json"]["jobs"] == []


def test_the_address_of_an_image_leads_to_a_link_signed_now(
    functions: Functions, upstream: FakeUpstream
) -> None:
    upstream.removed = {1}
    functions.generate(load_event("generate", num_images=2))
    response = functions.jobs(event("image", Origin="https://app.example.com"))
    assert (response["statusCode"], response["body"]) == (302, "")
    assert response["headers"]["Vary"] == "Origin, Accept"
    address = urlsplit(response["headers"]["Location"])
    assert address.path.endswith(f"/{event('image')['pathParameters']['id']}/0.jpg")
    assert "X-Amz-Signature" in address.query
    assert response["headers"]["Cache-Control"] == "no-store"
    assert "ETag" in response["headers"]["Access-Control-Expose-Headers"]
    for index in ("1", "2", "-1", "x"):
        missing = event("image")
        missing["pathParameters"]["index"] = index
        assert functions.jobs(missing)["statusCode"] == 404


def test_an_image_is_had_without_a_redirect_by_a_client_that_prefers_json(
    functions: Functions,
) -> None:
    functions.generate(load_event("generate"))
    response = functions.jobs(event("image", Accept="application/json"))
    link = response["json"]
    fields = {"url", "expires_at", "width", "height", "content_type", "bytes"}
    assert (response["statusCode"], link.keys()) == (200, fields)
    assert link["content_type"] == "image/jpeg"
    assert urlsplit(link["url"]).path.endswith("/0.jpg")
    assert datetime.fromisoformat(link["expires_at"]) > datetime.now(UTC)
    headers = response["headers"]
    assert (headers["Vary"], headers["Cache-Control"]) == ("Accept", "no-store")


def test_head_of_an_image_is_refused_and_not_sent_to_a_link_for_get(functions: Functions) -> None:
    functions.generate(load_event("generate"))
    response = functions.jobs(event("image") | {"httpMethod": "HEAD"})
    assert (response["statusCode"], response["body"]) == (405, "")
    assert response["headers"]["Allow"] == "GET"


@pytest.mark.parametrize("name", [*ROUTES, "list_jobs", "upload", "usage", "health", "docs",
                                  "docs_file", "openapi", "playground", "generate"])  # fmt: skip
def test_no_route_passes_over_a_parameter_that_it_does_not_have(
    functions: Functions, aws: Aws, name: str
) -> None:
    queued(functions)
    sample = event(name) if name in ROUTES else load_event(name)
    call = functions.generate if name == "generate" else functions.jobs
    sample["requestContext"]["extendedRequestId"] = "another"
    response = call(sample | {"queryStringParameters": {"dry_run": "true"}})
    assert (response["statusCode"], response["json"]["code"]) == (422, "validation_error")
    assert response["json"]["detail"][0]["loc"] == ["query", "dry_run"]
    items = aws.dynamodb.scan(TableName="jobs")["Items"]
    assert [item["status"]["S"] for item in items] == ["queued"]


def test_a_canceled_job_that_waited_leaves_no_init_image(functions: Functions, aws: Aws) -> None:
    sample = load_event("generate", init_image=base64.b64encode(png()).decode())
    sample["headers"]["Prefer"] = "respond-async"
    assert functions.generate(sample)["statusCode"] == 202
    assert len(aws.s3.list_objects_v2(Bucket="images")["Contents"]) == 1
    assert functions.jobs(event("cancel"))["json"]["status"] == "canceled"
    assert "Contents" not in aws.s3.list_objects_v2(Bucket="images")


@pytest.mark.parametrize("microsecond", [0, 1, 500_000])
def test_every_time_of_every_response_has_one_form(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, microsecond: int
) -> None:
    now = datetime.now(UTC).replace(microsecond=microsecond)
    clock = bootstrap.clock()._replace(now=lambda: now)
    monkeypatch.setattr(bootstrap, "clock", lambda: clock)
    json_of = {"Accept": "application/json"}
    bodies = [functions.generate(load_event("generate"))["body"]]
    for name in ("job", "list_jobs", "upload", "usage", "image"):
        sample = event(name, **json_of) if name in ROUTES else load_event(name)
        bodies.append(functions.jobs(sample)["body"])
    queued(functions, "another")
    cancel = event("cancel") | {"pathParameters": {"id": "another"}}
    bodies.append(functions.jobs(cancel)["body"])
    for body in bodies:
        times = LIKE_A_TIME.findall(body)
        assert times
        assert all(re.fullmatch(TIME_PATTERN, time) for time in times), times


def test_a_job_that_waits_has_no_image(functions: Functions) -> None:
    queued(functions)
    assert functions.jobs(event("image"))["statusCode"] == 404


@pytest.mark.parametrize(("credentials", "job_ends"), [(5, 30), (30, 5), (None, 5)])
def test_a_link_outlives_neither_its_job_nor_the_credentials_that_sign_it(
    aws: Aws, credentials: int | None, job_ends: int
) -> None:
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    store = ImageStore(
        aws.s3,
        "images",
        url_ttl=60 * minute,
        credentials_expiry=lambda: now + credentials * minute if credentials else None,
        parallel=1,
    )
    link = store.sign("a/b/0.jpg", until=now + job_ends * minute, now=now)
    assert link.expires_at == now + 5 * minute
    assert "X-Amz-Expires=300" in link.url


def at(monkeypatch: pytest.MonkeyPatch, time: datetime) -> None:
    """Restart the functions at another time."""
    clock = bootstrap.clock()._replace(now=lambda: time)
    monkeypatch.setattr(bootstrap, "clock", lambda: clock)
    forget_process()


def test_no_link_of_a_job_outlives_it(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = functions.generate(load_event("generate"))["json"]["expires_at"]
    at(monkeypatch, datetime.fromisoformat(ends) - timedelta(minutes=1))
    read = functions.jobs(event("job"))["json"]
    [listed] = functions.jobs(listing())["json"]["jobs"]
    address = functions.jobs(event("image", Accept="application/json"))["json"]
    links = [read["images"][0], listed["images"][0], address]
    assert [link["expires_at"] for link in links] == [ends] * 3


def test_an_expired_job_is_gone_on_every_route_and_in_no_list(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = functions.generate(load_event("generate"))["json"]["expires_at"]
    at(monkeypatch, datetime.fromisoformat(ends))
    for name in ROUTES:
        response = functions.jobs(event(name))
        assert (response["statusCode"], response["json"]["code"]) == (410, "gone"), name
    assert functions.jobs(listing())["json"] == {"jobs": [], "next_cursor": None}
