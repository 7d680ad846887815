"""OctoAI's contract, against a real server that follows it or not."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from sd3.domain.generation import UpstreamResult
from sd3.domain.image import read_image
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.upstreams.octoai import OctoaiUpstream, request_body
from tests.support.factories.http_caller import Caller, FakeKey, Serve
from tests.support.factories.images import png
from tests.support.factories.octoai_responses import image, images
from tests.support.factories.tasks import make_task
from tests.support.servers.scripted_server import Reply, head, http_reply, raw, silent

TOKEN = "oct-token"
POLICY = b'{"message": "This request violates our Acceptable Use Policy."}'


class Client:
    """OctoAI's upstream in front of a server that misbehaves."""

    def __init__(self, caller: Caller) -> None:
        self.server = caller.server
        self.time = caller.time
        self.upstream = OctoaiUpstream(
            base_url=caller.server.url, key=FakeKey(TOKEN), http=caller.session
        )

    def generate(
        self, *, seconds: float = 30, num_images: int = 1, **options: Any
    ) -> UpstreamResult:
        """Generate foxes, from seed 7 on, so many seconds before the deadline."""
        seeds = range(7, 7 + num_images)
        task = make_task(seeds=seeds, deadline=self.time.now + seconds, **options)
        return self.upstream.generate(task)


Upstreams = Callable[..., Client]


@pytest.fixture
def upstream(serve: Serve) -> Upstreams:
    """Put OctoAI's upstream in front of a script."""
    return lambda *script: Client(serve(*script))


def test_upstream_makes_its_own_session() -> None:
    octoai = OctoaiUpstream(base_url="https://image.example", key=FakeKey())
    assert (octoai.name, octoai.images_per_call) == ("octoai", 16)
    with pytest.raises(ValueError, match="base URL"):
        OctoaiUpstream(base_url="http://image.example", key=FakeKey())


def test_an_upstream_requires_its_url() -> None:
    with pytest.raises(ValueError, match="UPSTREAM_URL"):
        OctoaiUpstream(base_url="", key=FakeKey())


@pytest.mark.parametrize(
    ("fields", "micros"),
    [({}, 30_000), ({"steps": 1}, 1_000), ({"steps": 50, "num_images": 16}, 50_000)],
)
def test_price_of_an_image_is_three_cents_for_thirty_steps(
    fields: dict[str, Any], micros: int
) -> None:
    octoai = OctoaiUpstream(base_url="https://image.example", key=FakeKey())
    assert octoai.price(GenerateRequest(prompt="a fox", **fields)) == micros


@pytest.mark.parametrize("has_image", [False, True])
def test_everything_of_the_contract_is_followed(*, has_image: bool) -> None:
    octoai = OctoaiUpstream(base_url="https://image.example", key=FakeKey())
    request = GenerateRequest(prompt="a fox", cfg_scale=50, steps=200)
    assert octoai.unsupported(request, has_image=has_image) == ()
    assert octoai.ignored(request) == ()


def test_one_image_is_generated(upstream: Upstreams) -> None:
    client = upstream(http_reply(200, images(image(safety_score=0.25, seed=9))))
    result = client.generate()
    ((seed, generated, safety_score, *_),) = result.images
    assert (seed, safety_score, result.prediction_time_ms) == (9, 0.25, 3451.7)
    assert generated == read_image(png(64))
    (request,) = client.server.requests
    assert request.path == "/generate/sd3"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "prompt": "a fox",
        "cfg_scale": 12,
        "steps": 30,
        "num_images": 1,
        "seed": 7,
        "width": 1024,
        "height": 1024,
        "image_encoding": "jpeg",
    }


@pytest.mark.parametrize(
    ("headers", "engine", "is_trained"),
    [
        ({}, None, True),
        ({"x_engine": "sketch", "x_digital_source_type": "algorithmicMedia"}, "sketch", False),
        ({"x_engine": "x" * 300, "x_digital_source_type": "trained..."}, "x" * 200, True),
    ],
)  # fmt: skip
def test_a_server_may_say_what_makes_its_images(
    upstream: Upstreams, headers: dict[str, Any], engine: str | None, is_trained: bool
) -> None:
    client = upstream(http_reply(200, images(image()), **headers))
    [generated] = client.generate().images
    assert (generated.engine, generated.is_trained) == (engine, is_trained)


def test_sixteen_images_are_generated_in_one_call_and_in_order(upstream: Upstreams) -> None:
    client = upstream(http_reply(200, images(*(image(64 + i, seed=None) for i in range(16)))))
    result = client.generate(
        num_images=16,
        negative_prompt='snow "\u2603"',
        width=1344,
        height=768,
        image_encoding="png",
        metadata={"a": "b"},
        strength=0.5,
        cfg_scale=4.5,
        log_prompt=True,
    )
    assert [generated.seed for generated in result.images] == list(range(7, 23))
    widths = [generated.image.width for generated in result.images if generated.image]
    assert widths == list(range(64, 80))
    (request,) = client.server.requests
    assert request.json == {
        "prompt": "a fox",
        "negative_prompt": 'snow "\u2603"',
        "cfg_scale": 4.5,
        "steps": 30,
        "num_images": 16,
        "seed": list(range(7, 23)),
        "width": 1344,
        "height": 768,
        "image_encoding": "png",
    }


def test_init_image_and_strength_are_sent_together(upstream: Upstreams) -> None:
    client = upstream(http_reply(200, images(image())))
    start = read_image(png(80, 80))
    client.generate(init_image=start, strength=0.25)
    sent = client.server.requests[0].json
    assert base64.b64decode(sent["init_image"]) == start.data
    assert sent["strength"] == 0.25


def test_calls_use_one_connection(upstream: Upstreams) -> None:
    client = upstream(http_reply(200, images(image())))
    client.generate()
    client.generate()
    assert client.server.connections == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (http_reply(400, POLICY), ContentPolicyError),
        (http_reply(400, b'{"message": "steps"}'), UpstreamRefusedError),
        (http_reply(401, POLICY), UpstreamKeyError),
        (http_reply(422, b'{"detail": []}'), UpstreamRefusedError),
        (http_reply(500, POLICY), UpstreamFailedError),
        (http_reply(429, retry_after="6"), UpstreamThrottledError),
        (http_reply(503, retry_after="60"), UpstreamUnavailableError),
        (http_reply(302, location="https://image.example"), UpstreamRefusedError),
        (http_reply(200, b"<html>Welcome</html>", content_type="text/html"), UpstreamResponseError),
        (raw(head(200, content_length="5000") + images(image())), UpstreamFailedError),
        (raw(b""), UpstreamFailedError),
    ],
)
def test_a_failure_has_its_error_and_is_not_retried(
    upstream: Upstreams, reply: Reply, kind: type[UpstreamError]
) -> None:
    client = upstream(reply)
    with pytest.raises(kind) as caught:
        client.generate()
    assert type(caught.value) is kind
    assert len(client.server.requests) == 1
    assert TOKEN not in str(caught.value)
    assert "fox" not in str(caught.value)


def test_silent_upstream_is_a_timeout(upstream: Upstreams) -> None:
    with pytest.raises(UpstreamTimeoutError):
        upstream(silent).generate(seconds=0.5)


def test_passed_deadline_costs_nothing(upstream: Upstreams) -> None:
    client = upstream(http_reply(200, images(image())))
    with pytest.raises(UpstreamUnavailableError):
        client.generate(seconds=0)
    assert client.server.connections == 0


def test_request_body_without_an_init_image_is_plain_json() -> None:
    body = request_body(GenerateRequest(prompt='a "fox" \u2603', strength=0.5), [3], None)
    assert json.loads(body)["prompt"] == 'a "fox" \u2603'
    assert "strength" not in json.loads(body)
