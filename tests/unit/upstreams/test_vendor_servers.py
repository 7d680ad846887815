"""The servers that stand in for the vendors reject what the real ones would."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from urllib3 import encode_multipart_formdata

from tests.support.factories.images import flat, png
from tests.support.factories.octoai_responses import b64
from tests.support.servers.vendors import stability
from tests.support.servers.vendors.bedrock import BedrockServer, signer
from tests.support.servers.vendors.images import generated, size_of
from tests.support.servers.vendors.openai import OpenaiServer
from tests.support.servers.vendors.server import KEY, VendorServer
from tests.support.servers.vendors.stability import StabilityServer

AUTHORIZED = {"Authorization": f"Bearer {KEY}", "Accept": "image/*"}
OF_IMAGE = {"mode": "image-to-image", "strength": "0.5"}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Provide a client of its own, which knows nothing of ours."""
    with requests.Session() as opened:
        yield opened


def posted(
    session: requests.Session, server: VendorServer, path: str, **options: Any
) -> requests.Response:
    return session.post(server.url + path, timeout=10, **options)


def form(fields: Mapping[str, str], image: bytes | None) -> tuple[bytes, str]:
    parts: dict[str, Any] = {"prompt": "a fox"} | dict(fields)
    if image:
        parts["image"] = ("image.png", image, "image/png")
    return encode_multipart_formdata(parts)


@pytest.mark.parametrize(
    ("fields", "side", "status"),
    [
        ({}, None, 200),
        ({"aspect_ratio": "21:9", "seed": "4294967294", "cfg_scale": "1"}, None, 200),
        (OF_IMAGE, 64, 200),
        ({"prompt": ""}, None, 400),
        ({"prompt": "x" * 10_001}, None, 400),
        ({"negative_prompt": "x" * 10_001}, None, 400),
        ({"model": "sd4"}, None, 400),
        ({"cfg_scale": "12"}, None, 400),
        ({"cfg_scale": "0.9"}, None, 400),
        ({"seed": "4294967295"}, None, 400),
        ({"seed": "-1"}, None, 400),
        ({"steps": "30"}, None, 400),
        ({"aspect_ratio": "4:3"}, None, 400),
        ({"output_format": "gif"}, None, 400),
        ({"mode": "upscale"}, None, 400),
        ({}, 64, 400),
        ({"strength": "0.5"}, None, 400),
        (OF_IMAGE, None, 400),
        ({"mode": "image-to-image"}, 64, 400),
        (OF_IMAGE | {"strength": "1.1"}, 64, 400),
        (OF_IMAGE | {"aspect_ratio": "1:1"}, 64, 400),
        (OF_IMAGE, 63, 400),
        (OF_IMAGE, 1900, 413),
    ],
)
def test_stability_takes_what_its_document_allows(
    session: requests.Session, fields: dict[str, str], side: int | None, status: int
) -> None:
    image = png(side, side) if side else None
    body, content_type = form(fields, image)
    with StabilityServer() as server:
        headers = AUTHORIZED | {"Content-Type": content_type}
        response = posted(session, server, stability.PATH, data=body, headers=headers)
    assert response.status_code == status, response.text
    assert len(server.calls) == (status == 200)
    if image and status == 200:
        assert server.calls[0].image == image


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"prompt": "a fox"}, "headers": AUTHORIZED}, 400),
        ({"data": {"prompt": "a fox"}, "headers": AUTHORIZED}, 400),
        ({"files": {"prompt": "a fox"}, "headers": AUTHORIZED | {"Accept": "text/html"}}, 400),
        ({"files": {"prompt": "a fox"}}, 401),
    ],
)
def test_stability_takes_forms_with_a_key_only(
    session: requests.Session, options: dict[str, Any], status: int
) -> None:
    with StabilityServer() as server:
        assert posted(session, server, stability.PATH, **options).status_code == status
        assert posted(session, server, "/v1/engines").status_code == 404


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, None),
        ({"steps": 30}, "ValidationException"),
        ({"cfg_scale": 4}, "ValidationException"),
        ({"seed": "7"}, "ValidationException"),
        ({"seed": 2**32 - 1}, "ValidationException"),
        ({"aspect_ratio": "4:3"}, "ValidationException"),
        ({"mode": "image-to-image"}, "ValidationException"),
        ({"image": b64(flat(64, 64)), "strength": 0.5}, "ValidationException"),
    ],
)
def test_bedrock_takes_what_its_schema_has(
    session: requests.Session, fields: dict[str, Any], error: str | None
) -> None:
    with BedrockServer() as server:
        url = f"{server.url}/model/stability.sd3-5-large-v1%3A0/invoke"
        request = requests.Request("POST", url, json={"prompt": "a fox"} | fields).prepare()
        assert isinstance(request.body, bytes)
        signed = signer(KEY)(url, request.body, {"Content-Type": "application/json"})
        request.headers.update(signed)
        response = session.send(request, timeout=10)
    assert response.headers.get("x-amzn-errortype", "").partition(":")[0] == (error or "")
    assert response.ok == (error is None)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"Authorization": None}, "InvalidSignatureException"),
        ({"X-Amz-Date": "20261125T000000Z"}, "InvalidSignatureException"),
        ({"Content-Type": "text/plain"}, "InvalidSignatureException"),
        ({}, None),
    ],
)
def test_bedrock_takes_what_is_signed_only(
    session: requests.Session, change: dict[str, str | None], error: str | None
) -> None:
    with BedrockServer() as server:
        url = f"{server.url}/model/stability.sd3-5-large-v1%3A0/invoke"
        signed = signer(KEY)(url, b'{"prompt":"a fox"}', {"Content-Type": "application/json"})
        response = session.post(
            url, data=b'{"prompt":"a fox"}', headers={**signed, **change}, timeout=10
        )
        assert posted(session, server, "/model/other/converse").status_code == 404
    assert response.headers.get("x-amzn-errortype", "").partition(":")[0] == (error or "")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"n": 10, "unknown": 1}, 200),
        ({"n": 11}, 422),
        ({"size": "1024"}, 422),
        ({"guidance_scale": 20.5}, 422),
        ({"num_inference_steps": 201}, 422),
        ({"prompt": None}, 422),
    ],
)
def test_engine_takes_what_its_schema_has(
    session: requests.Session, fields: dict[str, Any], status: int
) -> None:
    sent = {"prompt": "a fox", "size": "64x64", "output_format": "png"} | fields
    with OpenaiServer(key="") as server:
        response = posted(session, server, "/v1/images/generations", json=sent)
        assert posted(session, server, "/v1/images/edits").status_code == 404
    assert response.status_code == status


def test_seed_that_is_left_out_is_always_the_same(session: requests.Session) -> None:
    sent = {"prompt": "a fox", "size": "64x64", "output_format": "png"}
    with OpenaiServer("sglang", key="") as server:
        response = posted(session, server, "/v1/images/generations", json=sent)
    assert server.calls[0].seed == 42
    assert response.json()["data"][0]["b64_json"] is None


def test_images_differ_by_their_seeds() -> None:
    seeds = (0, 1, 2, 2**31, 2**32 - 1)
    assert len({generated(seed, 64, 64) for seed in seeds}) == len(seeds)
    assert size_of(generated(7, 1536, 640, kind="jpeg")) == (1536, 640)
