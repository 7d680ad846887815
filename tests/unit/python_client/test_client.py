"""sd3_client.Client: what it sends, what it sends again, and what it makes of the answers."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from local.environment import ROOT
from sd3_client import (
    AuthenticationError,
    BudgetExceededError,
    Client,
    ConflictError,
    ContentPolicyError,
    InvalidRequestError,
    Job,
    NotFoundError,
    RateLimitedError,
    Sd3Error,
    StillRunningError,
    UnavailableError,
    UnreachableError,
    UpstreamError,
)
from sd3_client.models import Options
from tests.support.factories.images import png
from tests.support.servers.scripted_server import Received, http_reply, raw
from tests.unit.python_client.conftest import Scripted, answer, batch, error, job


def keys(requests: list[Received]) -> set[str]:
    return {request.headers["idempotency-key"] for request in requests}


def test_a_call_is_repeated_with_its_key_until_it_is_answered(
    scripted: Scripted, pauses: list[float]
) -> None:
    client, server = scripted(
        raw(b""),
        answer(503, error("upstream_unavailable"), retry_after="7"),
        answer(504, error("still_running", job_id="j1=")),
        answer(200, job()),
    )
    assert client.generate("a fox").status == "succeeded"
    assert len(server.requests) == 4
    assert len(keys(server.requests)) == 1
    assert "prefer" not in server.requests[0].headers
    assert 7 in pauses
    client.generate("a fox")
    assert len(keys(server.requests)) == 2
    client.generate("a fox", idempotency_key="order-7")
    assert server.requests[-1].headers["idempotency-key"] == "order-7"


def test_an_answer_that_is_cut_off_is_asked_for_again_with_its_key(scripted: Scripted) -> None:
    half = http_reply(200, b'{"id": "j1", ', content_length="500", keep=False)
    client, server = scripted(half, half, answer(200, job()))
    assert client.generate("a fox").id == "j1"
    assert (len(server.requests), len(keys(server.requests))) == (3, 1)
    server.script[:] = [half]
    with pytest.raises(UnreachableError):
        client.generate("a fox")
    assert len(server.requests) == 3 + 4


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "content_policy", ContentPolicyError),
        (400, "invalid_json", InvalidRequestError),
        (401, "unauthorized", AuthenticationError),
        (402, "budget_exceeded", BudgetExceededError),
        (403, "forbidden", AuthenticationError),
        (404, "not_found", NotFoundError),
        (409, "idempotency_mismatch", ConflictError),
        (410, "gone", NotFoundError),
        (413, "too_large", InvalidRequestError),
        (422, "validation_error", InvalidRequestError),
        (500, "internal_error", Sd3Error),
        (502, "upstream_error", UpstreamError),
        (418, "of_a_later_version", Sd3Error),
    ],
)
def test_what_would_be_the_same_again_or_be_paid_again_is_not_repeated(
    scripted: Scripted, status: int, code: str, kind: type[Sd3Error]
) -> None:
    client, server = scripted(answer(status, error(code, job_id="j1")))
    with pytest.raises(Sd3Error) as raised:
        client.generate("a fox")
    found = raised.value
    assert type(found) is kind
    assert (found.status, found.code, found.job_id, found.request_id) == (status, code, "j1", "r1")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limited", RateLimitedError),
        (500, "internal_error", Sd3Error),
        (503, "upstream_unavailable", UnavailableError),
    ],
)
def test_what_says_when_to_come_again_is_repeated_and_then_raised(
    scripted: Scripted, status: int, code: str, kind: type[Sd3Error], pauses: list[float]
) -> None:
    client, server = scripted(answer(status, error(code), retry_after="86400"))
    with pytest.raises(kind) as raised:
        client.generate("a fox")
    assert raised.value.retry_after == 86400
    assert len(server.requests) == 4
    assert pauses == [60, 60, 60]


def test_an_answer_of_another_server_is_an_error_too(scripted: Scripted) -> None:
    client, server = scripted(http_reply(502, b"<html>", content_type="text/html"))
    for reply, code in (
        (server.script[0], "http_502"),
        (answer(404, {"detail": "Not Found"}), "http_404"),
        (answer(422, {"detail": [{"no": "loc"}]}), "http_422"),
        (answer(403, "no"), "http_403"),
        (answer(302, "", location="https://elsewhere"), "http_302"),
        (http_reply(200, b"<html>"), "not_json"),
    ):
        server.script[:] = [reply]
        with pytest.raises(Sd3Error) as raised:
            client.generate("a fox")
        assert raised.value.code == code
    server.script[:] = [answer(503, "", retry_after="soon"), answer(200, job())]
    assert client.generate("a fox").id == "j1"


def test_no_answer_is_an_error_without_the_token(scripted: Scripted) -> None:
    client, _ = scripted(raw(b""))
    with pytest.raises(UnreachableError, match="No answer came") as raised:
        client.job("j1")
    assert "sd3_token" not in str(raised.value)


def test_the_fields_that_are_wrong_are_in_the_text(scripted: Scripted) -> None:
    detail = [{"loc": ["body", "steps"], "msg": "It is too large.", "type": "x"}]
    client, _ = scripted(answer(422, error("validation_error", detail=detail)))
    with pytest.raises(InvalidRequestError, match=r"body\.steps: It is too large\.") as raised:
        client.generate("a fox", steps=1000)
    assert raised.value.detail == detail


def test_a_queued_job_is_waited_for(scripted: Scripted, pauses: list[float]) -> None:
    client, server = scripted(
        answer(202, job("queued"), retry_after="2"),
        answer(200, job("running"), etag='"a"', preference_applied="wait=20"),
        http_reply(304, etag='"a"', preference_applied="wait=20"),
        http_reply(304, etag='"a"', retry_after="5"),  # one wait too many
        answer(200, job()),
    )
    assert client.generate("a fox", queue=True).status == "succeeded"
    post, *reads = server.requests
    assert post.headers["prefer"] == "respond-async"
    assert [read.headers["prefer"] for read in reads] == ["wait=20"] * 4
    assert [read.headers.get("if-none-match") for read in reads] == [None, *['"a"'] * 3]
    assert pauses == [5]


def test_who_watches_is_told_how_the_job_stands(scripted: Scripted) -> None:
    """A tag would hide that the position has changed."""
    client, server = scripted(
        answer(202, job("queued", queue_position=2)),
        answer(200, job("queued", queue_position=1), etag='"a"', preference_applied="wait=3"),
        answer(200, job("running", progress={"done": 1, "of": 2}), etag='"a"'),
        answer(200, job(images=2)),
    )
    seen: list[Job] = []
    client.generate("a fox", on_update=seen.append)
    assert [each.queue_position for each in seen] == [2, 1, None, None]
    assert seen[2].progress == {"done": 1, "of": 2}
    assert all("if-none-match" not in request.headers for request in server.requests)


def test_a_job_that_takes_too_long_is_named(scripted: Scripted) -> None:
    client, _ = scripted(answer(202, job("queued")))
    with pytest.raises(StillRunningError) as raised:
        client.generate("a fox", timeout=0)
    assert raised.value.job_id == "j1"


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (job("failed", error={"code": "content_policy", "message": "No."}), ContentPolicyError),
        (job("failed", error=None), Sd3Error),
        (job("canceled"), Sd3Error),
    ],
)
def test_a_job_without_images_is_raised_and_only_read_by_wait(
    scripted: Scripted, ended: dict[str, Any], kind: type[Sd3Error]
) -> None:
    client, _ = scripted(answer(200, ended))
    with pytest.raises(kind) as raised:
        client.generate("a fox")
    assert raised.value.job_id == "j1"
    assert client.wait("j1").status == ended["status"]


def test_images_are_fetched_without_the_token(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client, server = scripted(answer(200, job()))
    link = {"url": f"{server.url}/file?X-Amz-Signature=1"}
    [image] = client.generate("a fox").images
    server.script[:] = [answer(200, link), http_reply(200, b"JPEG")]
    assert image.download(width=256, format="webp") == b"JPEG"
    generated, linked, fetched = server.requests
    assert generated.headers["authorization"] == "Bearer sd3_token"
    assert linked.headers["accept"] == "application/json"
    assert linked.path == "/jobs/j1/images/0?width=256&format=webp"
    assert "authorization" not in fetched.headers
    assert "link" not in repr(image)


def test_init_images_are_sent_inline_or_uploaded(scripted: Scripted, tmp_path: Path) -> None:
    client, server = scripted(answer(200, job()))
    (tmp_path / "fox.png").write_bytes(png())
    client.generate("a fox", init_image=tmp_path / "fox.png", strength=0.5)
    assert base64.b64decode(server.requests[0].json["init_image"]) == png()
    form = {"id": "u1", "url": f"{server.url}/bucket", "fields": {"key": "k"}}
    server.script[:] = [answer(201, form), http_reply(204), answer(200, job())]
    client.generate("a fox", init_image=png() + bytes(3_000_000))
    _, asked, sent, generated = server.requests
    assert asked.json == {"content_type": "image/png"}
    assert "authorization" not in sent.headers
    assert b'name="key"' in sent.body
    assert generated.json == {"prompt": "a fox", "init_image": None, "init_image_id": "u1"}


def test_an_upload_that_s3_refuses_says_why(scripted: Scripted) -> None:
    client, server = scripted(answer(200))
    form = {"id": "u1", "url": f"{server.url}/bucket", "fields": {}}
    why = b"<Error><Code>EntityTooLarge</Code><Message>Your proposed upload is too large</Message>"
    server.script[:] = [answer(201, form), http_reply(400, why, content_type="application/xml")]
    with pytest.raises(Sd3Error, match="http_400: Your proposed upload is too large"):
        client.upload(png())


def test_pages_are_read_one_after_another(scripted: Scripted) -> None:
    client, server = scripted(
        answer(200, {"jobs": [job()], "next_cursor": "c"}),
        answer(200, {"jobs": [], "next_cursor": "d"}),
        answer(200, {"jobs": [job(), job()], "next_cursor": None}),
    )
    assert len([*client.jobs("succeeded")]) == 3
    assert server.requests[1].path == "/jobs?status=succeeded&limit=100&cursor=c"


def test_a_cancel_whose_answer_was_lost_is_a_cancel(scripted: Scripted) -> None:
    conflict = answer(409, error("not_cancelable"))
    client, server = scripted(raw(b""), conflict, answer(200, job("canceled")))
    assert client.cancel("j1").status == "canceled"
    server.script[:] = [conflict, answer(200, job())]
    with pytest.raises(ConflictError):
        client.cancel("j1")


def test_requests_are_sent_as_a_batch_and_waited_for(
    scripted: Scripted, pauses: list[float]
) -> None:
    goes_on = answer(200, batch("in_progress"), retry_after="5")
    client, server = scripted(raw(b""), answer(202, batch("validating")), goes_on)
    sent = client.batches.submit([{"custom_id": "1", "prompt": "a fox"}], metadata={"a": "b"})
    assert server.requests[1].json == {
        "requests": [{"custom_id": "1", "prompt": "a fox"}], "metadata": {"a": "b"},
    }  # fmt: skip
    assert len(keys(server.requests)) == 1
    with pytest.raises(StillRunningError, match="b1"):
        client.batches.wait(sent, timeout=0)
    server.script[:] = [server.script[0], answer(200, batch("completed"))]
    pauses.clear()
    assert client.batches.wait("b1").has_ended
    assert pauses == [5]
    server.script[:] = [answer(202, batch("cancelling"))]
    assert client.batches.cancel(sent).status == "cancelling"
    assert server.requests[-1].path == "/batches/b1/cancel"


def test_fields_of_a_later_service_are_in_raw(scripted: Scripted) -> None:
    client, _ = scripted(answer(200, job(later=1)))
    assert client.job("j1").raw["later"] == 1


def test_address_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SD3_API_TOKEN", raising=False)
    with pytest.raises(ValueError, match="SD3_API_TOKEN"):
        Client("http://127.0.0.1")
    with pytest.raises(ValueError, match="characters") as raised:
        Client("http://127.0.0.1", "sd3_secret\n")
    assert "secret" not in str(raised.value)


def test_the_fields_are_those_of_the_api() -> None:
    document = json.loads((ROOT / "layers/sd3/sd3/api/openapi.json").read_text())
    fields = document["components"]["schemas"]["GenerateRequest"]["properties"]
    ours = {name for name, field in fields.items() if field.get("type") != "null"}
    sending = {"queue", "idempotency_key"}
    assert Options.__annotations__.keys() - sending == ours - {"prompt", "dry_run"}
