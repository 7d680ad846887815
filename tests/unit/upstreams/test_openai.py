"""What is sent to servers of OpenAI's images API, and what their responses mean."""

from base64 import b64decode, encodebytes
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.errors import Sd3Error, UpstreamRefusedError, UpstreamResponseError
from sd3.http.session import HttpSession
from sd3.upstreams.openai import OpenaiUpstream
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.images import flat, png
from tests.support.factories.octoai_responses import b64
from tests.support.servers.vendor_client import PROMPT, Face, Facing
from tests.support.servers.vendors import images
from tests.support.servers.vendors.all_vendors import OPENAI
from tests.support.servers.vendors.openai import ERRORS, Engine, OpenaiServer
from tests.support.servers.vendors.server import TEXT, json_reply


@pytest.fixture(params=get_args(Engine))
def server(request: pytest.FixtureRequest) -> Iterator[OpenaiServer]:
    """Provide an engine on loopback."""
    with OpenaiServer(request.param) as started:
        yield started


@pytest.fixture
def facing(face: Face, server: OpenaiServer) -> Facing:
    """Provide the upstream in front of it."""
    return face(OPENAI, server.url)


def created(base_url: str = "https://engine.example", model: str = "") -> OpenaiUpstream:
    return OpenaiUpstream(base_url=base_url, key=FakeKey(), model=model)


def test_an_upstream_requires_its_url() -> None:
    with pytest.raises(ValueError, match="UPSTREAM_URL"):
        created("")
    with pytest.raises(ValueError, match="base URL"):
        created("http://engine.example")


def test_price_is_nothing_unless_it_is_set() -> None:
    assert created().price(GenerateRequest(prompt=PROMPT, steps=200)) == 0


def test_text_is_sent_in_exactly_these_fields(facing: Facing, server: OpenaiServer) -> None:
    facing.generated(negative_prompt="snow", cfg_scale=4.5, steps=28, width=1536, height=640)
    (request,) = server.requests
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "prompt": PROMPT,
        "negative_prompt": "snow",
        "n": 1,
        "size": "1536x640",
        "num_inference_steps": 28,
        "guidance_scale": 4.5,
        "seed": 7,
        "output_format": "jpeg",
        "response_format": "b64_json",
    }


def test_what_has_a_default_is_sent_all_the_same(facing: Facing, server: OpenaiServer) -> None:
    facing.generated(negative_prompt="")
    sent = server.requests[0].json
    assert (sent["guidance_scale"], sent["seed"], sent["num_inference_steps"]) == (12, 7, 30)
    assert "negative_prompt" not in sent
    assert "model" not in sent


@pytest.mark.parametrize(("cfg_scale", "sent"), [(0.5, 0.5), (20, 20), (20.5, 20), (50, 20)])
def test_a_too_large_cfg_scale_is_clamped_and_reported(
    facing: Facing, server: OpenaiServer, cfg_scale: float, sent: float
) -> None:
    facing.generated(cfg_scale=cfg_scale)
    assert server.requests[0].json["guidance_scale"] == sent
    ignored = facing.upstream.ignored(GenerateRequest(prompt=PROMPT, cfg_scale=cfg_scale))
    assert ignored == (() if sent == cfg_scale else ("cfg_scale",))


def test_largest_seed_is_sent_as_it_is(facing: Facing, server: OpenaiServer) -> None:
    assert facing.generated(seeds=[MAX_SEED]).seed == MAX_SEED
    assert server.requests[0].json["seed"] == MAX_SEED


def test_model_is_sent_if_it_is_set(face: Face, server: OpenaiServer) -> None:
    facing = face(OPENAI._replace(make=_of_a_model), server.url)
    facing.generated()
    assert server.requests[0].json["model"] == "stabilityai/stable-diffusion-3.5-large"


def _of_a_model(url: str, key: Any, http: HttpSession) -> OpenaiUpstream:
    model = "stabilityai/stable-diffusion-3.5-large"
    return OpenaiUpstream(base_url=url, key=key, model=model, http=http)


def test_a_server_without_keys_is_called_without_one(face: Face) -> None:
    with OpenaiServer(key="") as server:
        face(OPENAI, server.url, key=FakeKey("")).generated()
    assert "authorization" not in server.requests[0].headers


def test_time_is_reported_where_the_engine_reports_it(face: Face) -> None:
    with OpenaiServer("sglang") as server:
        assert face(OPENAI, server.url).calls().milliseconds == 1250
    with OpenaiServer("vllm-omni") as server:
        assert 0 < face(OPENAI, server.url).calls().milliseconds != 1250


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"created": 1}, "data: Field required"),
        ({"data": []}, "no image in b64_json"),
        ({"data": [{}]}, "no image in b64_json"),
        ({"data": [{"b64_json": None, "url": "https://elsewhere.example"}]}, "a url, not an image"),
        ({"data": [{"b64_json": "", "url": "http://127.0.0.1/x.png"}]}, "a url, not an image"),
        ({"data": [{"b64_json": "AAAA"}]}, "not a PNG"),
        ({"data": [{"url": "data:image/png;base64,AAAA"}]}, "not a PNG"),
    ],
)
def test_a_response_without_an_image_is_unusable(
    facing: Facing, server: OpenaiServer, fields: object, message: str
) -> None:
    server.set_replies(json_reply(200, fields))
    error = facing.error()
    assert type(error) is UpstreamResponseError
    assert message in error.message
    assert "elsewhere" not in error.message


IMAGE = b64(flat(64, 64))
NOISE = b64(png())


@pytest.mark.parametrize(
    "fields",
    [
        {"data": [{"b64_json": f"data:image/png;base64,{IMAGE}"}]},
        {"data": [{"b64_json": f"data:image/png;base64,{NOISE}"}]},
        {"data": [{"b64_json": encodebytes(b64decode(NOISE)).decode()}]},
        {"data": [{"b64_json": IMAGE.rstrip("=")}]},
        {"data": [{"url": f"data:image/png;base64,{IMAGE}"}]},
        {"data": [{"b64_json": "", "url": f"data:image/png;base64,{NOISE}"}]},
        {"data": [{"b64_json": IMAGE, "url": 5}]},
        {"data": [{"b64_json": IMAGE}], "inference_time_s": "3.2"},
        {"data": [{"b64_json": IMAGE}], "inference_time_s": -1},
    ],
)
def test_an_image_that_is_there_is_used(
    facing: Facing, server: OpenaiServer, fields: object
) -> None:
    server.set_replies(json_reply(200, fields))
    assert facing.generated().image


def test_an_unrequested_format_is_recorded(facing: Facing, server: OpenaiServer) -> None:
    image = images.generated(7, 512, 512, kind="webp")
    server.set_replies(json_reply(200, {"data": [{"b64_json": b64(image)}]}))
    generated = facing.generated().image
    assert generated
    assert (generated.content_type, generated.width, generated.height) == ("image/webp", 512, 512)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("size", "openai answered 400."),
        ("validation", "openai answered 422."),
        ("unauthorized", "openai answered 401."),
        ("not_initialized", "openai answered 503."),
        ("generation", "openai answered 500."),
        ("policy", "openai says that this violates its content policy."),
        ("rate", "openai answered 429 rate_limit_exceeded."),
    ],
)
def test_an_error_is_identified_by_its_status_and_name(
    facing: Facing, server: OpenaiServer, name: str, message: str
) -> None:
    server.set_replies(ERRORS[name])
    assert facing.error().message == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"code": "model_not_found", "type": "x"}}, "400 model_not_found"),
        ({"error": {"code": 400, "type": "BadRequestError"}}, "400 BadRequestError"),
        ({"error": {"code": TEXT}}, "400"),
        ({"error": {"code": ["content_policy_violation"]}}, "400"),
        ({"error": TEXT}, "400"),
        ([TEXT], "400"),
    ],
)
def test_other_errors_are_described_by_names_alone(
    facing: Facing, server: OpenaiServer, body: object, message: str
) -> None:
    server.set_replies(json_reply(400, body))
    error: Sd3Error = facing.error()
    assert error.message == f"openai answered {message}."
    assert type(error) is UpstreamRefusedError
