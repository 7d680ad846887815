"""Responses of OctoAI, parsed without a copy, and described when they are unusable."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sd3.domain.generation import UpstreamResult
from sd3.errors import UpstreamFailedError, UpstreamResponseError
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


@pytest.mark.parametrize("body", [b"", images(image())[:-5], images(image())[:9000]])
def test_a_response_that_is_cut_off_may_be_whole_the_next_time(body: bytes) -> None:
    with pytest.raises(UpstreamFailedError, match="is cut off") as caught:
        generated_from(body, [1])
    assert caught.value.retryable
    assert caught.value.may_have_charged


@pytest.mark.parametrize(
    "odd",
    [
        image(seed="secret"),
        image(seed=True),
        image(seed=-1),
        image(seed=2**32),
        image(safety_score=float("nan")),
        image(safety_score="0.1"),
        image(removed_for_safety="perhaps"),
        image(image_b64="data:image/png;base64," + b64(png())),
        image(image_b64=b64(png(4, 4)).replace("IDAT", "ID\nAT") + "\n"),
        image(prediction_time_ms="long"),
    ],
)
def test_an_image_that_is_there_is_used_whatever_is_beside_it(odd: dict[str, Any]) -> None:
    body = images(odd, image(), prediction_time_ms="3451.7")
    first, second = generated_from(body, [5, 6]).images
    assert first.image
    assert second.image
    assert first.seed in {5, 7}


def test_images_beside_one_that_cannot_be_read_are_used() -> None:
    body = images(image(), image(image_b64="secret!"), image())
    results = generated_from(body, [1, 2, 3, 4]).images
    assert [one.image is None for one in results] == [False, True, False, True]
    errors = [one.error for one in results if one.error]
    assert [error.code for error in errors] == ["upstream_error"] * 2
    assert "not one for each seed" in errors[1].message
    assert not any("secret" in error.message for error in errors)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>" + b'"' * 99, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"images": []} {}', "is not JSON"),
        (b"null", "body: Input should be an object"),
        (b"[]", "body: Input should be an object"),
        (b"{}", "images: Field required"),
        (b'{"images": null}', "images: Input should be a valid array"),
        (b'{"images": ["secret"]}', "images.0: Input should be an object"),
        (images(image(image_b64=5)), "images.0.image_b64: Input should be a valid string"),
        (images(), "answered 0 images, not one for each seed"),
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
    assert not caught.value.retryable


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("width", [1, 4, 64, 512])
def test_images_are_the_same_as_by_plain_decoding(*, escaped: bool, width: int) -> None:
    data = png(width, width)
    body = images(image(image_b64=b64(data)), image(image_b64=b64(data)))
    if escaped:
        body = body.replace(b"/", b"\\/")
    result = generated_from(body, [1, 2])
    assert [generated.image.data for generated in result.images if generated.image] == [data, data]
