"""Responses of OctoAI, parsed without a copy, and described when they are unusable."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sd3.domain.generation import UpstreamResult
from sd3.errors import UpstreamResponseError
from sd3.upstreams.octoai import read_response
from tests.support.factories.images import png
from tests.support.factories.octoai_responses import b64, image, images


def generated_from(body: bytes, seeds: Sequence[int]) -> UpstreamResult:
    return read_response(bytearray(body), seeds)


@pytest.mark.parametrize(
    "fields",
    [
        {"image_b64": None, "removed_for_safety": True},
        {"image_b64": "null", "removed_for_safety": True},
        {"image_b64": None},
        {"image_b64": "null", "removed_for_safety": None},
        {"removed_for_safety": True},
    ],
)
def test_filtered_image_is_no_failure(fields: dict[str, Any]) -> None:
    result = generated_from(images(image() | fields, image()), [1, 2])
    assert [generated.image is None for generated in result.images] == [True, False]
    assert result.images[0].seed == 7


def test_a_response_may_omit_everything_but_the_images() -> None:
    body = json.dumps({"images": [{"image_b64": b64(png())}, {}], "more": [1]}).encode()
    result = generated_from(body, [5, 6])
    assert result.prediction_time_ms == 0.0
    assert [(one.seed, one.image is None) for one in result.images] == [
        (5, False),
        (6, True),
    ]


def test_more_images_than_seeds_are_left_out() -> None:
    assert len(generated_from(images(image(), image(image_b64="broken")), [5]).images) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is cut off"),
        (images(image())[:-5], "is cut off"),
        (images(image())[:9000], "is cut off"),
        (b"<html>" + b'"' * 99, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"images": []} {}', "is not JSON"),
        (b"null", "body: Input should be an object"),
        (b"[]", "body: Input should be an object"),
        (b"{}", "images: Field required"),
        (b'{"images": null}', "images: Input should be a valid array"),
        (b'{"images": ["secret"]}', "images.0: Input should be an object"),
        (images(image(image_b64=5)), "images.0.image_b64: Input should be a valid string"),
        (images(image(seed="secret")), "images.0.seed: Input should be a valid integer"),
        (images(image(seed=True)), "images.0.seed: Input should be a valid integer"),
        (images(image(seed=-1)), "images.0.seed: Input should be greater"),
        (images(image(seed=2**32)), "images.0.seed: Input should be less"),
        (images(image(safety_score=float("nan"))), "safety_score: Input should be a finite"),
        (images(image(), prediction_time_ms=float("inf")), "time_ms: Input should be a finite"),
        (images(), "answered 0 images, not 1"),
        (images(image(image_b64="")), "image 0: "),
        (images(image(image_b64="secret!")), "image 0: not valid base64"),
        (images(image(image_b64="secret!" * 999)), "image 0: not valid base64"),
        (images(image(image_b64="AAAA")), "image 0: not a PNG"),
        (images(image(image_b64=b64(png()[:-50]))), "image 0: the image is cut off"),
    ],
)
def test_an_unusable_response_is_described_and_not_quoted(body: bytes, message: str) -> None:
    with pytest.raises(UpstreamResponseError) as caught:
        generated_from(body, [1])
    assert message in caught.value.message
    assert "secret" not in caught.value.message
    assert caught.value.may_have_charged


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("width", [1, 4, 64, 512])
def test_images_are_the_same_as_by_plain_decoding(*, escaped: bool, width: int) -> None:
    data = png(width, width)
    body = images(image(image_b64=b64(data)), image(image_b64=b64(data)))
    if escaped:
        body = body.replace(b"/", b"\\/")
    result = generated_from(body, [1, 2])
    assert [generated.image.data for generated in result.images if generated.image] == [data, data]
