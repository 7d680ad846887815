"""What is sent to Amazon Bedrock, as botocore would send it, and what its responses mean."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from sd3.adapters.aws import Aws
from sd3.domain.generation import GenerationTask
from sd3.domain.image import Image, read_image
from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.errors import (
    Sd3Error,
    StorageError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamUnavailableError,
)
from sd3.upstreams.bedrock import BedrockUpstream
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.images import flat, png
from tests.support.factories.octoai_responses import b64
from tests.support.factories.tasks import make_task
from tests.support.servers.scripted_server import http_reply
from tests.support.servers.vendor_client import PROMPT, Face, Facing
from tests.support.servers.vendors import bedrock
from tests.support.servers.vendors.all_vendors import BEDROCK
from tests.support.servers.vendors.bedrock import (
    ACCESS_KEY,
    MODEL_ID,
    REGION,
    STATUSES,
    BedrockServer,
    NoKey,
    signer,
)
from tests.support.servers.vendors.server import KEY, TEXT, json_reply

ARN = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/a1b2c3"


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    """Amazon Bedrock on loopback."""
    with BedrockServer() as started:
        yield started


@pytest.fixture
def facing(face: Face, server: BedrockServer) -> Facing:
    """Provide the upstream in front of it."""
    return face(BEDROCK, server.url)


def created(base_url: str = "", model_id: str = MODEL_ID) -> BedrockUpstream:
    return BedrockUpstream(
        base_url=base_url, key=NoKey(), sign=signer(KEY), model_id=model_id, region=REGION
    )


def test_price_is_the_dearer_of_two_that_are_known() -> None:
    assert created().price(GenerateRequest(prompt=PROMPT, num_images=16)) == 80_000


def test_what_its_schema_does_not_have_is_ignored() -> None:
    assert created().ignored(GenerateRequest(prompt=PROMPT, cfg_scale=4)) == ("steps", "cfg_scale")


def test_text_is_sent_in_exactly_these_fields(facing: Facing, server: BedrockServer) -> None:
    facing.generated(
        negative_prompt="snow", cfg_scale=4, width=640, height=1536, image_encoding="png"
    )
    (request,) = server.requests
    assert request.path == "/model/stability.sd3-5-large-v1%3A0/invoke"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.json == {
        "prompt": PROMPT,
        "negative_prompt": "snow",
        "mode": "text-to-image",
        "aspect_ratio": "9:21",
        "seed": 7,
        "output_format": "png",
    }


def test_image_is_sent_in_base64_and_without_an_aspect_ratio(
    facing: Facing, server: BedrockServer
) -> None:
    start = read_image(png(832, 1216))
    facing.generated(init_image=start, strength=0.25, width=832, height=1216)
    assert server.requests[0].json == {
        "prompt": PROMPT,
        "mode": "image-to-image",
        "strength": 0.25,
        "seed": 7,
        "output_format": "jpeg",
        "image": b64(start.data),
    }


def test_empty_negative_prompt_is_not_sent(facing: Facing, server: BedrockServer) -> None:
    facing.generated(negative_prompt="")
    assert "negative_prompt" not in server.calls[0].fields


def test_a_seed_out_of_range_wraps_and_the_image_has_the_wrapped_seed(
    facing: Facing, server: BedrockServer
) -> None:
    assert facing.generated(seeds=[MAX_SEED]).seed == 1
    assert server.calls[0].fields["seed"] == 1


def sent_by_botocore(url: str, body: bytes, *, model_id: str = MODEL_ID) -> Any:
    """Return what InvokeModel of botocore's own client for Bedrock returns."""
    client: Any = botocore.session.get_session().create_client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=KEY,
        config=Config(retries={"total_max_attempts": 1}),
    )
    with closing(client):
        response = client.invoke_model(
            modelId=model_id, body=body, contentType="application/json", accept="application/json"
        )
        with response["body"] as stream:
            return json.loads(stream.read())


SENT = ("content-type", "accept", "authorization", "host", "x-amz-date")


def test_botocores_client_sends_and_reads_the_same(facing: Facing, server: BedrockServer) -> None:
    image = facing.generated(init_image=read_image(png(80, 80))).image
    (ours,) = server.requests
    read = sent_by_botocore(server.url, ours.body)
    theirs = server.requests[1]
    assert image
    assert read["images"] == [b64(image.data)]
    assert (theirs.method, theirs.path, theirs.body) == (ours.method, ours.path, ours.body)
    for request in (ours, theirs):
        assert set(SENT) <= request.headers.keys()
    same = ("content-type", "accept", "host")
    assert [theirs.headers[name] for name in same] == [ours.headers[name] for name in same]


def test_arn_of_a_model_has_the_path_that_botocore_gives_it() -> None:
    with BedrockServer(model_id=ARN) as server:
        upstream = created(server.url + "/", ARN)
        upstream.generate(_task())
        sent_by_botocore(server.url, server.requests[0].body, model_id=ARN)
    ours, theirs = server.requests
    assert ours.path == theirs.path
    assert ours.path.endswith("inference-profile%2Fa1b2c3/invoke")
    assert [call.fields for call in server.calls] == [server.calls[0].fields] * 2


@pytest.mark.parametrize("token", ["", "of-a-role"])
def test_requests_that_are_signed_as_in_production_are_taken(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    with BedrockServer() as server:
        upstream = BedrockUpstream(
            base_url=server.url,
            key=NoKey(),
            sign=Aws().signer("bedrock", REGION),
            model_id=MODEL_ID,
            region=REGION,
        )
        upstream.generate(_task())
    (call,) = server.calls
    assert call.headers.get("x-amz-security-token", "") == token
    assert ("x-amz-security-token" in call.headers["authorization"]) == bool(token)


def test_a_request_that_was_changed_in_transit_is_rejected(server: BedrockServer) -> None:
    def changed(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        return signer(KEY)(url, body + b" ", headers)

    upstream = BedrockUpstream(
        base_url=server.url, key=NoKey(), sign=changed, model_id=MODEL_ID, region=REGION
    )
    with pytest.raises(Sd3Error, match="bedrock answered 403 InvalidSignatureException"):
        upstream.generate(_task())


def test_missing_credentials_are_a_precise_error(server: BedrockServer) -> None:
    def unsigned(*_: object) -> dict[str, str]:
        raise StorageError("There are no AWS credentials.")

    upstream = BedrockUpstream(
        base_url=server.url, key=NoKey(), sign=unsigned, model_id=MODEL_ID, region=REGION
    )
    with pytest.raises(StorageError):
        upstream.generate(_task())
    assert server.connections == 0


def never_signed(*_: object) -> dict[str, str]:
    raise AssertionError


def test_api_key_is_sent_in_place_of_a_signature_and_renewed(server: BedrockServer) -> None:
    upstream = BedrockUpstream(
        base_url=server.url,
        key=FakeKey("of-last-year", KEY),
        sign=never_signed,
        model_id=MODEL_ID,
        region=REGION,
    )
    result = upstream.generate(_task())
    assert result.images[0].image
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer of-last-year", f"Bearer {KEY}"]


def test_the_default_endpoint_is_the_regions() -> None:
    signed: list[str] = []

    def sign(url: str, *_: object) -> dict[str, str]:
        signed.append(url)
        raise StorageError("stop")

    upstream = BedrockUpstream(
        base_url="", key=NoKey(), sign=sign, model_id=MODEL_ID, region="eu-west-1"
    )
    with pytest.raises(StorageError):
        upstream.generate(_task())
    assert signed == [
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/stability.sd3-5-large-v1%3A0/invoke"
    ]
    with pytest.raises(ValueError, match="base URL"):
        created("http://image.example")


@pytest.mark.parametrize(
    "reason", ["Filter reason: prompt", "Filter reason: output image", "Filter reason: input image"]
)
def test_filtered_image_is_marked(facing: Facing, server: BedrockServer, reason: str) -> None:
    server.filter(7, reason=reason)
    result = facing.generated()
    assert (result.seed, result.image, result.safety_score) == (7, None, None)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Inference error", UpstreamFailedError),
        (TEXT, UpstreamResponseError),
        ("", UpstreamResponseError),
    ],
)
def test_a_reason_why_there_is_no_image_is_an_error_of_unknown_outcome(
    facing: Facing, server: BedrockServer, reason: str, kind: type[UpstreamError]
) -> None:
    server.set_replies(json_reply(200, {"finish_reasons": [reason]}))
    error = facing.error()
    assert type(error) is kind
    assert error.may_have_charged


IMAGE = b64(flat(64, 64))


@pytest.mark.parametrize(
    ("fields", "seed"),
    [
        ({"images": [IMAGE]}, 7),
        ({"images": [IMAGE], "seeds": [], "finish_reasons": []}, 7),
        ({"images": [IMAGE], "seeds": None, "finish_reasons": None}, 7),
        ({"images": [IMAGE], "seeds": [9], "finish_reasons": [None], "more": 1}, 9),
        ({"images": [IMAGE], "seeds": ["9"], "finish_reasons": [None]}, 9),
        ({"images": [IMAGE], "seeds": ["none"]}, 7),
        ({"images": [IMAGE], "seeds": [0]}, 7),
        ({"images": [IMAGE], "seeds": 9, "finish_reasons": "none"}, 7),
        ({"images": [IMAGE], "seeds": [[9]], "finish_reasons": [""]}, 7),
        ({"images": [IMAGE], "seeds": [9.5], "finish_reasons": ["SUCCESS"]}, 7),
        ({"images": ["data:image/png;base64," + IMAGE]}, 7),
    ],
)
def test_a_response_is_parsed_tolerantly(
    facing: Facing, server: BedrockServer, fields: dict[str, Any], seed: int
) -> None:
    server.set_replies(json_reply(200, fields))
    result = facing.generated()
    assert result.seed == seed
    assert result.image == Image(flat(64, 64), "image/png", 64, 64)


@pytest.mark.parametrize(
    "fields", [{}, {"images": []}, {"images": [None]}, {"images": ["AAAA"]}, {"images": [5]}, []]
)
def test_a_response_without_an_image_is_unusable(
    facing: Facing, server: BedrockServer, fields: object
) -> None:
    server.set_replies(json_reply(200, fields))
    assert type(facing.error()) is UpstreamResponseError


def test_the_errors_are_those_of_botocores_data() -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    errors = model.operation_model("InvokeModel").error_shapes
    assert {error.name: error.metadata["error"]["httpStatusCode"] for error in errors} == STATUSES


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_an_error_is_identified_by_its_status_and_name(
    facing: Facing, server: BedrockServer, name: str, status: int
) -> None:
    server.set_replies(bedrock.ERRORS[name])
    assert facing.error().message == f"bedrock answered {status} {name}."


@pytest.mark.parametrize(
    ("status", "header", "body", "message", "kind"),
    [
        (400, "ThrottlingException", {}, "400 ThrottlingException", UpstreamThrottledError),
        (
            400,
            None,
            {"__type": "com.amazon.coral.service#ThrottlingException"},
            "400 ThrottlingException",
            UpstreamThrottledError,
        ),
        (
            500,
            None,
            {"code": "ServiceUnavailableException"},
            "500 ServiceUnavailableException",
            UpstreamUnavailableError,
        ),
        (500, None, {"message": TEXT}, "500", UpstreamFailedError),
        (403, TEXT, {}, "403", UpstreamKeyError),
        (403, "ExpiredTokenException", {}, "403 ExpiredTokenException", UpstreamKeyError),
        (
            404,
            "UnknownOperationException",
            {},
            "404 UnknownOperationException",
            UpstreamRefusedError,
        ),
        (429, None, [TEXT], "429", UpstreamThrottledError),
    ],
)
def test_error_is_read_where_botocore_reads_it(
    facing: Facing,
    server: BedrockServer,
    status: int,
    header: str | None,
    body: object,
    message: str,
    kind: type[Sd3Error],
) -> None:
    server.set_replies(json_reply(status, body, error_type=header))
    error = facing.error()
    assert error.message == f"bedrock answered {message}."
    assert type(error) is kind


@pytest.mark.parametrize("name", ["ThrottlingException", "ModelNotReadyException"])
def test_its_retry_after_is_in_the_error(facing: Facing, server: BedrockServer, name: str) -> None:
    server.set_replies(http_reply(429, b"{}", retry_after="12", x_amzn_errortype=name))
    error = facing.error()
    assert isinstance(error, UpstreamUnavailableError)
    assert error.retry_after == 12


def _task() -> GenerationTask:
    return make_task(prompt=PROMPT, deadline=time.monotonic() + 30)
