"""What is sent to Stability AI, and what its responses mean."""

from collections.abc import Iterator

import pytest

from sd3.domain.generation import GeneratedImage
from sd3.domain.image import Image, read_image
from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.domain.request_checks import SIZES
from sd3.errors import (
    ContentPolicyError,
    InvalidRequestError,
    Sd3Error,
    UpstreamFailedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamUnchargedError,
)
from sd3.settings import Rate
from sd3.upstreams.stability import StabilityUpstream
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.images import black_png, flat, jpeg, png
from tests.support.servers.scripted_server import Reply, http_reply
from tests.support.servers.vendor_client import PROMPT, Face, Facing
from tests.support.servers.vendors import images, stability
from tests.support.servers.vendors.all_vendors import STABILITY
from tests.support.servers.vendors.server import TEXT, json_reply
from tests.support.servers.vendors.stability import StabilityServer


@pytest.fixture
def server() -> Iterator[StabilityServer]:
    """Stability AI on loopback."""
    with StabilityServer() as started:
        yield started


@pytest.fixture
def facing(face: Face, server: StabilityServer) -> Facing:
    """Provide the upstream in front of it."""
    return face(STABILITY, server.url)


def created(model: str = "sd3.5-large", base_url: str = "") -> StabilityUpstream:
    return StabilityUpstream(base_url=base_url, key=FakeKey(), model=model)


@pytest.mark.parametrize(
    ("model", "micros"),
    [
        ("sd3.5-large", 65_000),
        ("sd3.5-large-turbo", 40_000),
        ("sd3.5-medium", 35_000),
        ("sd3.5-flash", 25_000),
    ],
)
def test_price_is_the_models(model: str, micros: int) -> None:
    assert created(model).price(GenerateRequest(prompt=PROMPT, steps=200, num_images=4)) == micros


def test_unknown_model_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"STABILITY_MODEL is 'sd4', .* sd3.5-large, .*flash"):
        created("sd4")


def test_the_default_base_url_is_stabilitys() -> None:
    created()
    with pytest.raises(ValueError, match="base URL"):
        created(base_url="http://image.example")


def test_its_rate_is_the_documented_one() -> None:
    assert (created().rate, created().pause_seconds, created().images_per_call) == (
        Rate(150, 10),
        60,
        1,
    )


@pytest.mark.parametrize(
    ("cfg_scale", "sent", "ignored"),
    [
        (0.5, "1.0", ("steps", "cfg_scale")),
        (1, "1.0", ("steps",)),
        (4.25, "4.25", ("steps",)),
        (10, "10.0", ("steps",)),
        (10.5, "10.0", ("steps", "cfg_scale")),
        (50, "10.0", ("steps", "cfg_scale")),
    ],
)
def test_cfg_scale_is_clamped_and_reported(
    facing: Facing,
    server: StabilityServer,
    cfg_scale: float,
    sent: str,
    ignored: tuple[str, ...],
) -> None:
    facing.generated(cfg_scale=cfg_scale)
    assert server.calls[0].fields["cfg_scale"] == sent
    request = GenerateRequest(prompt=PROMPT, cfg_scale=cfg_scale)
    assert facing.upstream.ignored(request) == ignored


def test_text_is_sent_as_a_form_of_exactly_these_fields(
    facing: Facing, server: StabilityServer
) -> None:
    facing.generated(negative_prompt="snow \u2603\r\n--", cfg_scale=4, width=1344, height=768)
    (call,) = server.calls
    assert call.fields == {
        "prompt": PROMPT,
        "negative_prompt": "snow \u2603\r\n--",
        "mode": "text-to-image",
        "aspect_ratio": "16:9",
        "model": "sd3.5-large",
        "seed": "7",
        "output_format": "jpeg",
        "cfg_scale": "4.0",
    }
    assert call.image is None
    assert call.headers["accept"] == "image/*"
    assert call.headers["content-type"].startswith("multipart/form-data; boundary=")


def test_an_init_image_is_sent_in_the_requested_size_without_an_aspect_ratio(
    facing: Facing, server: StabilityServer
) -> None:
    start = read_image(png(1152, 896))
    facing.generated(init_image=start, strength=0.25, width=1152, height=896, seeds=[9])
    (call,) = server.calls
    assert call.fields == {
        "prompt": PROMPT,
        "mode": "image-to-image",
        "strength": "0.25",
        "model": "sd3.5-large",
        "seed": "9",
        "output_format": "jpeg",
        "cfg_scale": "10.0",
    }
    assert call.image == start.data


def test_image_of_another_size_is_resized_once_for_all_images(
    facing: Facing, server: StabilityServer
) -> None:
    results = facing.generate(init_image=read_image(jpeg(80, 70)), seeds=[7, 8, 9])
    assert all(isinstance(result, GeneratedImage) for result in results)
    sent = {call.image for call in server.calls}
    assert len(sent) == 1
    assert [images.size_of(image) for image in sent if image] == [(1024, 1024)]


def test_image_that_cannot_be_decoded_is_the_clients_fault_and_nothing_is_sent(
    facing: Facing, server: StabilityServer
) -> None:
    damaged = read_image(black_png(80, 80, more_bytes=-2000))
    error = facing.error(init_image=damaged)
    assert isinstance(error, InvalidRequestError)
    assert error.message == "The init image cannot be decoded."
    assert not error.retryable
    assert not error.may_have_charged
    assert server.connections == 0


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_size_is_an_aspect_ratio(
    facing: Facing, server: StabilityServer, width: int, height: int
) -> None:
    facing.generated(width=width, height=height)
    across, down = map(int, server.calls[0].fields["aspect_ratio"].split(":"))
    assert across / down == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize(("seed", "sent"), [(1, 1), (MAX_SEED - 1, MAX_SEED - 1), (MAX_SEED, 1)])
def test_a_seed_out_of_range_wraps_and_the_image_has_the_wrapped_seed(
    facing: Facing, server: StabilityServer, seed: int, sent: int
) -> None:
    assert facing.generated(seeds=[seed]).seed == sent
    assert server.calls[0].fields["seed"] == str(sent)


def one(*, seed: str | None = None, finish_reason: str | None = None) -> Reply:
    return http_reply(
        200, flat(64, 64), content_type="image/png", seed=seed, finish_reason=finish_reason
    )


@pytest.mark.parametrize(
    ("header", "seed"),
    [("9", 9), (None, 7), ("0", 7), ("-1", 7), ("4294967295", 7), ("9" * 5000, 7), ("\u00b2", 7)],
)
def test_the_seed_is_the_one_in_the_response(
    facing: Facing, server: StabilityServer, header: str | None, seed: int
) -> None:
    server.set_replies(one(seed=header))
    result = facing.generated()
    assert result.seed == seed
    assert result.image == Image(flat(64, 64), "image/png", 64, 64)


@pytest.mark.parametrize(
    ("reason", "is_kept"),
    [("SUCCESS", True), (None, True), ("CONTENT_FILTERED", False), ("SOMETHING_ELSE", False)],
)
def test_an_image_is_returned_only_if_it_was_not_blurred(
    facing: Facing, server: StabilityServer, reason: str | None, *, is_kept: bool
) -> None:
    server.set_replies(one(finish_reason=reason))
    result = facing.generated()
    assert (result.image is not None, result.safety_score) == (is_kept, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_request", "stability answered 400 bad_request."),
        ("unauthorized", "stability answered 401 unauthorized."),
        ("payment_required", "stability answered 402 payment_required."),
        ("content_moderation", "stability's moderation flagged this prompt or image."),
        ("payload_too_large", "stability answered 413 payload_too_large."),
        ("invalid_language", "stability takes prompts in English only."),
        ("public_figure", "stability sees a public figure in the init image."),
        ("rate_limit_exceeded", "stability answered 429 rate_limit_exceeded."),
        ("internal_error", "stability answered 500 internal_error."),
    ],
)
def test_an_error_is_identified_by_its_status_and_name(
    facing: Facing, server: StabilityServer, name: str, message: str
) -> None:
    server.set_replies(stability.ERRORS[name])
    assert facing.error().message == message


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (403, {"name": "forbidden"}, Sd3Error, "stability answered 403 forbidden."),
        (403, {"name": TEXT}, Sd3Error, "stability answered 403."),
        (422, {"name": ["public_figure"]}, Sd3Error, "stability answered 422."),
        (401, {"message": TEXT}, Sd3Error, "stability answered 401."),
        (400, [TEXT], Sd3Error, "stability answered 400."),
        (500, {"message": TEXT}, UpstreamFailedError, "stability answered 500."),
        (500, {"name": "x" * 65}, UpstreamUnchargedError, "stability answered 500."),
        (502, {"name": "bad_gateway"}, UpstreamFailedError, "stability answered 502 bad_gateway."),
        (202, {"id": "later"}, UpstreamResponseError, "stability answered 202."),
    ],
)
def test_other_errors_are_described_by_names_alone(
    facing: Facing,
    server: StabilityServer,
    status: int,
    body: object,
    kind: type[Sd3Error],
    message: str,
) -> None:
    server.set_replies(json_reply(status, body))
    error = facing.error()
    assert error.message == message
    assert isinstance(error, kind)
    assert not isinstance(error, ContentPolicyError)
    assert error.may_have_charged == (type(error) in {UpstreamFailedError, UpstreamResponseError})


def test_its_retry_after_is_in_the_error(facing: Facing, server: StabilityServer) -> None:
    server.set_replies(http_reply(429, b"{}", retry_after="12"))
    error = facing.error()
    assert isinstance(error, UpstreamThrottledError)
    assert error.retry_after == 12


@pytest.mark.parametrize(
    "reply",
    [json_reply(200, {"image": "", "finish_reason": "SUCCESS"}), http_reply(200, b"")],
    ids=["JSON", "nothing"],
)
def test_a_response_that_is_no_image_is_unusable(
    facing: Facing, server: StabilityServer, reply: Reply
) -> None:
    server.set_replies(reply)
    error = facing.error()
    assert isinstance(error, UpstreamResponseError)
    assert error.message.startswith("stability's image: ")
