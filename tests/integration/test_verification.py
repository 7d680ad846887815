"""POST /verify: the function on moto, with the secret that signs marks."""

import base64
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from sd3.adapters.aws import Aws
from sd3.domain.image import encode_base64
from sd3.domain.provenance import TRAINED, Facts, packet_of
from sd3.domain.xmp import embed
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import flat, jpeg, png

SECRET: Final = "s" * 64
ORIGINAL: Final = png()
FACTS: Final = Facts(
    job_id="c6Af9ESmIAMEbxg",
    index=0,
    client_id="demo",
    seed=7,
    created_at=datetime(2026, 11, 27, tzinfo=UTC),
    source_type=TRAINED,
)
MARKED: Final = embed(ORIGINAL, "image/png", packet_of(FACTS, ORIGINAL, SECRET.encode()))
BOUNDARY: Final = "b0undary"


@pytest.fixture(autouse=True)
def secret(functions: Functions, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the secret that signs."""
    aws.secrets.create_secret(Name="master", SecretString=SECRET)
    monkeypatch.setenv("MASTER_SECRET", "master")


def event(image: bytes, *, client_id: str = "demo") -> dict[str, Any]:
    sample = load_event("verify", image=encode_base64(image))
    sample["requestContext"]["authorizer"]["client_id"] = client_id
    return sample


def form(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """Make the event of a form with these files."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; filename="x"; name='
    lines = [f'{head}"{name}"\r\n\r\n'.encode() + data + b"\r\n" for name, data in parts]
    sample = load_event("verify")
    sample["headers"]["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
    body = b"".join((*lines, f"--{BOUNDARY}--\r\n".encode()))
    return sample | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def test_the_sample_event_is_of_an_image_without_a_mark(functions: Functions) -> None:
    response = functions.jobs(load_event("verify"))
    assert (response["statusCode"], response["headers"]["Cache-Control"]) == (200, "no-store")
    assert response["json"] == {
        "marked": False,
        "digital_source_type": None,
        "c2pa": False,
        "ours": False,
        "bytes": None,
        "job_id": None,
        "index": None,
        "seed": None,
    }


def test_an_image_of_the_service_is_recognised_and_its_job_is_its_clients(
    functions: Functions,
) -> None:
    found = {"marked": True, "digital_source_type": TRAINED, "c2pa": False}
    found |= {"ours": True, "bytes": "exact", "index": 0, "seed": 7}
    own = found | {"job_id": "c6Af9ESmIAMEbxg"}
    assert functions.jobs(event(MARKED))["json"] == own
    assert functions.jobs(form(("image", MARKED)))["json"] == own
    assert functions.jobs(event(MARKED, client_id="other"))["json"] == found | {"job_id": None}


def test_the_secret_is_read_once_and_its_failure_is_not_kept(
    functions: Functions, aws: Aws
) -> None:
    aws.secrets.delete_secret(SecretId="master", ForceDeleteWithoutRecovery=True)
    failed = functions.jobs(event(MARKED))
    assert (failed["statusCode"], failed["json"]["code"]) == (500, "internal_error")
    aws.secrets.create_secret(Name="master", SecretString=SECRET)
    assert functions.jobs(event(MARKED))["statusCode"] == 200
    aws.secrets.put_secret_value(SecretId="master", SecretString="another")
    assert functions.jobs(event(MARKED))["json"]["ours"] is True


@pytest.mark.parametrize("scopes", ["", "generate"])
def test_a_token_has_to_be_for_reading(functions: Functions, scopes: str) -> None:
    sample = event(MARKED)
    sample["requestContext"]["authorizer"]["scopes"] = scopes
    response = functions.jobs(sample)
    assert (response["statusCode"], response["json"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("body", "msg"),
    [
        ({"image": None}, "a string of base64"),
        ({"image": 7}, "a string of base64"),
        ({"image": ""}, "not a PNG, JPEG or WebP"),
        ({"image": "%%%"}, "not valid base64: it is percent-encoded"),
        ({"image": "https://example.com/a.png"}, "a URL"),
        ({"image": encode_base64(b"only a text")}, "not a PNG, JPEG or WebP"),
        ({"image": encode_base64(png()[:-30])}, "cut off"),
        ({"image": encode_base64(flat(9, 9, kind="gif"))}, "a GIF"),
        ({"image": encode_base64(jpeg()[:200])}, "the JPEG"),
        ({"image": "A" * 6_200_000}, "more than 4500000 bytes"),
        ({"url": "x"}, "Extra inputs"),
    ],
)
def test_what_is_no_image_is_a_422(functions: Functions, body: Any, msg: str) -> None:
    response = functions.jobs(load_event("verify", **body))
    assert (response["statusCode"], response["json"]["code"]) == (422, "validation_error")
    assert msg in response["json"]["detail"][-1]["msg"]


@pytest.mark.parametrize(
    ("sample", "status"),
    [
        (form(), 422),
        (form(("file", MARKED)), 422),
        (form(("image", MARKED), ("image", MARKED)), 422),
        (form(("image", MARKED), ("prompt", b"a fox")), 422),
        (form(("image", MARKED + bytes(4_500_000))), 422),
        (form(("image", bytes(5_000_000))), 413),
        (form(("image", b"data:image/png;base64,")), 422),
        (form(("image", MARKED)) | {"body": "AAAA"}, 422),
        (form(("image", MARKED)) | {"body": None}, 422),
        (load_event("verify") | {"body": "[]"}, 422),
        (load_event("verify") | {"body": "{"}, 400),
        (load_event("verify") | {"body": "x" * 7_000_000}, 413),
        (load_event("verify") | {"queryStringParameters": {"url": "x"}}, 422),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    functions: Functions, sample: dict[str, Any], status: int
) -> None:
    assert functions.jobs(sample)["statusCode"] == status


def test_another_content_type_is_a_415(functions: Functions) -> None:
    sample = load_event("verify")
    sample["headers"]["Content-Type"] = "image/png"
    assert functions.jobs(sample)["statusCode"] == 415
