"""Which images are marked, with what, and what happens if one cannot be."""

import base64
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from sd3.domain.client import RequestContext
from sd3.domain.generation import GeneratedImage, GenerationTask, UpstreamResult
from sd3.domain.image import Image, read_image
from sd3.domain.provenance import Mark, Mode, source_type_in
from sd3.domain.request import GenerateRequest
from sd3.domain.xmp import read_marks, strip
from sd3.responses.models import JobResponse
from sd3.services.provenance import ImageMarker
from tests.support.factories.images import jpeg, phone_photo, png
from tests.support.fakes.ports import FakeImages, FakeUpstream, make_service

SECRET = b"master"
PHOTO = base64.b64encode(png()).decode()
KEY = "ann/job-1/0.jpg"


@dataclass(frozen=True)
class Secrets:
    """The master secrets; none where they cannot be read."""

    known: tuple[bytes, ...] = (SECRET,)

    def prefetch(self) -> None: ...

    def fetched(self) -> tuple[bytes, ...]:
        return self.known


class Upstream(FakeUpstream):
    """Generates the image of a file."""

    def __init__(self, data: bytes, **facts: Any) -> None:
        super().__init__()
        self.data, self.facts = data, facts

    def generate(self, task: GenerationTask) -> UpstreamResult:
        images = [GeneratedImage(s, _image(self.data), **self.facts) for s in task.seeds.values()]
        return UpstreamResult(tuple(images), 1.0)

    def ignored(self, request: GenerateRequest) -> tuple[str, ...]:
        return ("steps",)


def _image(data: bytes) -> Image:
    try:
        return read_image(data)
    except ValueError:
        return Image(data, "image/jpeg", 64, 64)


def generate(
    mode: Mode = Mode.BASIC,
    *,
    data: bytes = jpeg(),
    known: tuple[bytes, ...] = (SECRET,),
    facts: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[bytes, JobResponse]:
    """Return the stored file of a job's first image, and the response with the job."""
    images = FakeImages()
    marker = ImageMarker(mode=mode, secrets=Secrets(known))
    service = make_service(upstream=Upstream(data, **facts or {}), images=images, marker=marker)
    request = GenerateRequest.from_values({"prompt": "a fox", "seed": 7} | fields)
    response = service.generate(request, RequestContext("ann", "job-1", 60))
    return images.objects[KEY].data, response


def packet_in(data: bytes) -> bytes:
    return read_marks(data, _image(data).content_type).packet


def test_a_stored_image_has_a_signed_mark_and_the_response_has_the_same_bytes() -> None:
    data, response = generate(response_format="b64_json")
    mark = Mark.read(packet_in(data))
    assert mark
    assert (mark.job, mark.index, mark.seed) == ("job-1", "0", "7")
    assert mark.is_signed_by([SECRET])
    assert mark.is_of("ann", [SECRET])
    assert strip(data, "image/jpeg") == jpeg()
    [image] = response.images
    assert image.image_b64
    assert base64.b64decode(image.image_b64) == data
    assert image.provenance == "basic"


@pytest.mark.parametrize(
    ("facts", "fields", "source_type"),
    [
        ({}, {}, "trainedAlgorithmicMedia"),
        ({}, {"init_image": PHOTO}, "compositeWithTrainedAlgorithmicMedia"),
        ({"is_trained": False}, {}, "algorithmicMedia"),
        ({"is_trained": False}, {"init_image": PHOTO}, "algorithmicMedia"),
    ],
)
def test_the_source_type_is_that_of_the_upstream_and_the_request(
    facts: dict[str, Any], fields: dict[str, Any], source_type: str
) -> None:
    data, _ = generate(facts=facts, **fields)
    assert (source_type_in(packet_in(data)) or "").endswith(f"/{source_type}")


@pytest.mark.parametrize(
    ("mode", "fields", "has_packet", "has_prompt", "has_parameters"),
    [
        (Mode.NONE, {}, False, False, False),
        (Mode.NONE, {"embed_parameters": True}, False, False, True),
        (Mode.BASIC, {}, True, False, False),
        (Mode.BASIC, {"embed_parameters": True}, True, False, True),
        (Mode.FULL, {}, True, True, True),
        (Mode.FULL, {"embed_parameters": False}, True, True, False),
    ],
)
def test_a_mode_and_the_request_decide_what_is_written(
    mode: Mode, fields: dict[str, Any], has_packet: bool, has_prompt: bool, has_parameters: bool
) -> None:
    data, response = generate(mode, **fields)
    packet = packet_in(data)
    assert (bool(packet), b"a fox" in packet) == (has_packet, has_prompt)
    assert ("Steps: 30".encode("utf-16-be") in data) is has_parameters
    assert response.images[0].provenance == (str(mode) if has_packet else None)


def test_parameters_say_what_the_upstream_did_not_follow() -> None:
    data, _ = generate(embed_parameters=True)
    assert "Not followed: steps".encode("utf-16-be") in data


@pytest.mark.parametrize("mode", [Mode.BASIC, Mode.FULL])
def test_a_file_that_comes_with_a_mark_is_left_as_it_is(mode: Mode) -> None:
    theirs = phone_photo((64, 64), kind="jpeg")
    data, response = generate(mode, data=theirs)
    assert (data, response.images[0].provenance) == (theirs, "upstream")


def test_without_the_secret_an_image_is_marked_and_the_record_says_that_nothing_signs_it() -> None:
    data, response = generate(known=())
    assert Mark.read(packet_in(data)) is None
    assert (source_type_in(packet_in(data)) or "").endswith("/trainedAlgorithmicMedia")
    assert response.images[0].provenance == "unsigned"


def test_an_image_that_cannot_be_marked_is_stored_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        data, response = generate(data=b"\xff\xd8\xff no JPEG")
    assert (data, response.images[0].provenance) == (b"\xff\xd8\xff no JPEG", None)
    assert "image not marked" in caplog.text


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("sd3.5-large", b'AISystemVersionUsed="sd3.5-large"'),
        ("arn:aws:bedrock:us-west-2:123456789012:provisioned-model/x1", b'VersionUsed="x1"'),
    ],
)
def test_the_model_is_named_without_the_operators_account(model: str, shown: bytes) -> None:
    upstream = Upstream(jpeg())
    upstream.model = model
    images = FakeImages()
    service = make_service(
        upstream=upstream,
        images=images,
        marker=ImageMarker(mode=Mode.BASIC, secrets=Secrets()),
    )
    service.generate(GenerateRequest(prompt="x"), RequestContext("ann", "job-1", 60))
    assert shown in packet_in(images.objects[KEY].data)
    assert b"123456789012" not in images.objects[KEY].data
