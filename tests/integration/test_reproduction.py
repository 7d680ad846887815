"""POST /jobs/{id}/reproduce: the function on moto."""

from typing import Any
from urllib.parse import urljoin

import pytest

from sd3.adapters.aws import Aws
from sd3.domain.image import encode_base64
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import png
from tests.support.fakes.ports import FakeUpstream

URL = "https://api.example.com/v1/jobs/c6Af9ESmIAMEbxg/reproduce"


def event(**headers: str) -> dict[str, Any]:
    sample = load_event("reproduce")
    sample["headers"] |= {name.replace("_", "-"): text for name, text in headers.items()}
    return sample


def test_the_sample_event_generates_the_sample_job_again(
    functions: Functions, aws: Aws, upstream: FakeUpstream
) -> None:
    first = functions.generate(load_event("generate", init_image=encode_base64(png())))["json"]
    response = functions.generate(event())
    assert response["statusCode"] == 200
    new = response["json"]
    assert (new["reproduced_from"], new["status"]) == (first["id"], "succeeded")
    assert [one["seed"] for one in new["images"]] == [one["seed"] for one in first["images"]]
    assert upstream.init_images[0] == upstream.init_images[1] is not None
    read = functions.jobs(load_event("job") | {"pathParameters": {"id": new["id"]}})["json"]
    assert read["reproduced_from"] == first["id"]
    names = [o["Key"] for o in aws.s3.list_objects_v2(Bucket="images")["Contents"]]
    assert f"demo/{new['id']}/init.png" in names


def test_respond_async_returns_the_address_of_the_new_job(functions: Functions) -> None:
    functions.generate(load_event("generate"))
    response = functions.generate(event(Prefer="respond-async"))
    new = response["json"]["id"]
    assert (response["statusCode"], response["json"]["status"]) == (202, "queued")
    headers = response["headers"]
    assert urljoin(URL, headers["Location"]) == f"https://api.example.com/v1/jobs/{new}"
    assert (headers["Retry-After"], headers["Preference-Applied"]) == ("2", "respond-async")


def test_an_init_image_that_is_gone_is_a_409(functions: Functions, aws: Aws) -> None:
    functions.generate(load_event("generate", init_image=encode_base64(png())))
    aws.s3.delete_object(Bucket="images", Key="demo/c6Af9ESmIAMEbxg/init.png")
    response = functions.generate(event())
    assert (response["statusCode"], response["json"]["code"]) == (409, "not_reproducible")
    assert response["json"]["message"] == "The init image is no longer stored."


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"pathParameters": {"id": "another"}}, 404, "not_found"),
        ({"pathParameters": {"id": "../c6Af9ESmIAMEbxg\x00"}}, 404, "not_found"),
        ({"queryStringParameters": {"dry_run": "true"}}, 422, "validation_error"),
    ],
)
def test_a_wrong_call_generates_nothing(
    functions: Functions, upstream: FakeUpstream, change: dict[str, Any], status: int, code: str
) -> None:
    functions.generate(load_event("generate"))
    response = functions.generate(event() | change)
    assert (response["statusCode"], response["json"]["code"]) == (status, code)
    assert len(upstream.calls) == 1
