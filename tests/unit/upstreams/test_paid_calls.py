"""How often a queued job calls an upstream that always answers in the same way."""

from contextlib import closing
from operator import attrgetter
from typing import Any, Final

import pytest

from sd3.domain.job import Job, JobStatus
from sd3.http.session import HttpSession
from sd3.services.worker import MAX_FAILURES
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.images import png
from tests.support.factories.octoai_responses import b64
from tests.support.factories.waiting_job import World
from tests.support.servers.scripted_server import Reply, chunked, head, http_reply, raw
from tests.support.servers.vendors.all_vendors import (
    BEDROCK,
    OCTOAI,
    OPENAI,
    STABILITY,
    VENDORS,
    Vendor,
)
from tests.support.servers.vendors.server import KEY, html, hung_up, json_reply, redirect

ONCE, FIVE_TIMES = 1, MAX_FAILURES
IMAGE: Final = b64(png())
TRUNCATED: Final = png()[:-50]

SAME_AGAIN: Final = {
    "a page": html(),
    "no JSON and no image": http_reply(200, b"done"),
    "another success": http_reply(202, b"{}"),
    "no content": http_reply(204),
    "a redirect": redirect("https://image.example"),
    "bad request": http_reply(400, b"{}"),
    "no credit": http_reply(402, b"{}"),
    "not found": http_reply(404, b"{}"),
    "too large": http_reply(413, b"{}"),
    "not valid": http_reply(422, b"{}"),
    "not implemented": http_reply(501, b"{}"),
    "another encoding": http_reply(200, b"not gzip", content_encoding="gzip"),
}
"""What every upstream can answer, and would answer again."""

MAY_PASS: Final = {
    "cut off": raw(head(200, content_length="5000") + b"{"),
    "cut off in chunks": chunked([b"{"], whole=False),
    "nothing": hung_up,
    "took too long": http_reply(408, b"{}"),
    "too early": http_reply(425, b"{}"),
    "a bad gateway": html(502),
    "a gateway's timeout": html(504),
    "a broken engine": http_reply(500, b"{}"),
}
"""What every upstream can answer, and perhaps only once."""

OF_ONE_VENDOR: Final = [
    (OCTOAI, ONCE, "fewer images", json_reply(200, {"images": []})),
    (OCTOAI, ONCE, "no base64", json_reply(200, {"images": [{"image_b64": "!"}]})),
    (OCTOAI, ONCE, "no image", json_reply(200, {"images": [{"image_b64": "AAAA"}]})),
    (OCTOAI, ONCE, "part of it", json_reply(200, {"images": [{"image_b64": b64(TRUNCATED)}]})),
    (OCTOAI, ONCE, "another form", json_reply(200, {"artifacts": [{"base64": IMAGE}]})),
    (OCTOAI, FIVE_TIMES, "half of the JSON", http_reply(200, b'{"images": [')),
    (STABILITY, ONCE, "JSON", json_reply(200, {"image": IMAGE})),
    (STABILITY, ONCE, "part of an image", http_reply(200, TRUNCATED)),
    (STABILITY, FIVE_TIMES, "part, without a length", raw(head(200) + TRUNCATED)),
    (STABILITY, FIVE_TIMES, "a failure", json_reply(500, {"name": "internal_error"})),
    (BEDROCK, ONCE, "no image", json_reply(200, {"images": []})),
    (BEDROCK, ONCE, "no base64", json_reply(200, {"images": ["!"]})),
    (BEDROCK, ONCE, "an unknown reason", json_reply(200, {"finish_reasons": ["Tuesday"]})),
    (BEDROCK, FIVE_TIMES, "inference", json_reply(200, {"finish_reasons": ["Inference error"]})),
    (BEDROCK, FIVE_TIMES, "a model error", json_reply(424, {}, error_type="ModelErrorException")),
    (OPENAI, ONCE, "a url", json_reply(200, {"data": [{"url": "http://127.0.0.1:1/x.png"}]})),
    (OPENAI, ONCE, "no base64", json_reply(200, {"data": [{"b64_json": "!"}]})),
    (OPENAI, ONCE, "no data", json_reply(200, {"data": []})),
    (OPENAI, ONCE, "another form", json_reply(200, {"images": [IMAGE]})),
    (OPENAI, FIVE_TIMES, "half of the JSON", http_reply(200, b'{"data": [')),
]


def calls_until_the_end(vendor: Vendor, reply: Reply) -> tuple[int, Job]:
    """Let a worker work on a job until it has ended; return the number of calls, and the job."""
    worlds: list[World] = []
    with vendor.serve() as server:
        clock = lambda: worlds[0].clock.time().monotonic()  # noqa: E731 - the world comes later
        with closing(HttpSession(server.url, clock=clock)) as http:
            upstream: Any = vendor.make(server.url, FakeKey(KEY), http)
            worlds.append(World(upstream))
            server.set_every_reply(reply)
            for receives in range(1, 20):
                wait = worlds[0].work(receives=receives)
                if wait is None:
                    return len(server.calls), worlds[0].job
                worlds[0].clock.advance(wait)
    raise AssertionError("The job has not ended.")


@pytest.mark.parametrize("vendor", VENDORS, ids=attrgetter("name"))
@pytest.mark.parametrize(
    ("reply", "calls"),
    [(reply, ONCE) for reply in SAME_AGAIN.values()]
    + [(reply, FIVE_TIMES) for reply in MAY_PASS.values()],
    ids=[*SAME_AGAIN, *MAY_PASS],
)
def test_an_answer_that_will_be_the_same_is_paid_once(
    vendor: Vendor, reply: Reply, calls: int
) -> None:
    made, job = calls_until_the_end(vendor, reply)
    assert (made, job.status) == (calls, JobStatus.FAILED)
    assert job.error
    assert job.error.code == "upstream_error"


@pytest.mark.parametrize(
    ("vendor", "calls", "reply"),
    [(vendor, calls, reply) for vendor, calls, _, reply in OF_ONE_VENDOR],
    ids=[f"{vendor.name}-{name}" for vendor, _, name, _ in OF_ONE_VENDOR],
)
def test_an_answer_of_one_vendor_that_will_be_the_same_is_paid_once(
    vendor: Vendor, calls: int, reply: Reply
) -> None:
    made, job = calls_until_the_end(vendor, reply)
    assert (made, job.status) == (calls, JobStatus.FAILED)
