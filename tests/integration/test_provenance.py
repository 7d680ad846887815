"""Marked images: every way to an image leads to the same bytes, with a mark that is ours."""

import base64
import json
from typing import Any

import pytest

from sd3.adapters.aws import Aws
from sd3.domain.image import Image, read_image
from sd3.domain.provenance import Mark, source_type_in
from sd3.domain.xmp import read_marks
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import jpeg
from tests.support.fakes import ports

JOB_ID = load_event("generate")["requestContext"]["extendedRequestId"].rstrip("=")
KEY = f"demo/{JOB_ID}/0.jpg"


@pytest.fixture(autouse=True)
def marks(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have images that are files, and a secret that signs their marks."""
    monkeypatch.setenv("PROVENANCE", "basic")
    monkeypatch.setenv("MASTER_SECRET", "upstream-token")  # a secret that there is
    monkeypatch.setattr(ports, "sample_image", lambda _index: picture())
    return monkeypatch


def picture() -> Image:
    return read_image(jpeg(512, 512))


def stored(aws: Aws, key: str = KEY) -> bytes:
    return aws.s3.get_object(Bucket="images", Key=key)["Body"].read()


def packet_in(data: bytes) -> bytes:
    return read_marks(data, "image/jpeg").packet


def is_signed(data: bytes) -> bool:
    mark = Mark.read(packet_in(data))
    return mark is not None and mark.is_signed_by([b"secret"])


def openai_event(**body: Any) -> dict[str, Any]:
    event = load_event("generate")
    path = "/images/generations"
    text = json.dumps({"prompt": "a fox"} | body)
    return event | {"path": path, "resource": path, "body": text}


def test_s3_the_response_and_a_later_one_have_the_same_signed_file(
    functions: Functions, aws: Aws
) -> None:
    response = functions.generate(load_event("generate", response_format="b64_json"))
    [image] = response["json"]["images"]
    assert base64.b64decode(image["image_b64"]) == stored(aws)
    assert (is_signed(stored(aws)), image["provenance"]) == (True, "basic")
    event = load_event("job") | {"pathParameters": {"id": JOB_ID}}
    [again] = functions.jobs(event)["json"]["images"]
    assert (again["image_b64"], again["sha256"]) == (image["image_b64"], image["sha256"])


def test_a_scaled_image_of_openais_door_is_marked_after_it_was_scaled(
    functions: Functions, aws: Aws
) -> None:
    response = functions.generate(openai_event(size="256x256", response_format="b64_json"))
    [image] = response["json"]["data"]
    data = base64.b64decode(image["b64_json"])
    assert (read_image(data).width, is_signed(data)) == (256, True)
    assert data == stored(aws)


@pytest.mark.parametrize("name", ["", "no such secret"])
def test_without_its_secret_an_image_is_stored_with_a_mark_that_nothing_signs(
    functions: Functions, aws: Aws, marks: pytest.MonkeyPatch, name: str
) -> None:
    marks.setenv("MASTER_SECRET", name)
    response = functions.generate(load_event("generate"))
    assert response["statusCode"] == 200
    assert response["json"]["images"][0]["provenance"] == "unsigned"
    source_type = source_type_in(packet_in(stored(aws))) or ""
    assert (source_type.endswith("/trainedAlgorithmicMedia"), is_signed(stored(aws))) == (
        True,
        False,
    )


def test_a_mode_that_there_is_not_is_an_error_before_anything_is_paid(
    functions: Functions, marks: pytest.MonkeyPatch, upstream: ports.FakeUpstream
) -> None:
    marks.setenv("PROVENANCE", "some")
    assert functions.generate(load_event("generate"))["statusCode"] == 500
    assert upstream.calls == []
