"""Renditions on moto: where they are kept and for how long, their links, and their removal."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from PIL import Image as PillowImage

from sd3.adapters.aws import Aws
from sd3.adapters.s3.renditions import KEEP, RenditionStore
from sd3.domain.image import read_image
from sd3.domain.placeholder import make_thumbhash
from sd3.domain.rendition import Rendition
from sd3.errors import GoneError
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import jpeg
from tests.support.fakes.ports import FakeUpstream

ID = load_event("image")["pathParameters"]["id"]
SMALL = Rendition("image/webp", 64, 48)


@pytest.fixture(autouse=True)
def _generated(functions: Functions, upstream: FakeUpstream) -> None:
    """Generate a job with an image that can be decoded."""
    generate = upstream.generate

    def generate_photo(task: Any) -> Any:
        result = generate(task)
        photo = read_image(jpeg(320, 240))
        return result._replace(images=tuple(one._replace(image=photo) for one in result.images))

    upstream.generate = generate_photo  # type: ignore[method-assign]
    generated = functions.generate(load_event("generate", placeholder="thumbhash"))
    assert generated["statusCode"] == 200


def asked(functions: Functions, accept: str = "*/*", **query: str) -> dict[str, Any]:
    sample = load_event("image") | {
        "queryStringParameters": query or None,
        "multiValueQueryStringParameters": {k: [v] for k, v in query.items()} or None,
    }
    sample["headers"]["Accept"] = accept
    sample["multiValueHeaders"]["Accept"] = [accept]
    return functions.jobs(sample)


def stored(aws: Aws, prefix: str = "_renditions/") -> list[str]:
    listed = aws.s3.list_objects_v2(Bucket="images", Prefix=prefix).get("Contents", [])
    return sorted(found["Key"] for found in listed)


def test_the_first_call_stores_a_rendition_and_the_next_one_finds_it(
    functions: Functions, aws: Aws
) -> None:
    responses = [asked(functions, "image/avif,*/*", width="128") for _ in range(2)]
    key = f"_renditions/demo/{ID}/0.w128.avif"
    for response in responses:
        assert (response["statusCode"], response["headers"]["Vary"]) == (302, "Accept")
        assert urlsplit(response["headers"]["Location"]).path == f"/{key}"
    assert stored(aws) == [key]
    reply = aws.s3.get_object(Bucket="images", Key=key)
    assert (reply["ContentType"], reply["CacheControl"]) == (
        "image/avif", "private, max-age=86400, immutable",
    )  # fmt: skip
    made = PillowImage.open(io.BytesIO(reply["Body"].read()))
    assert (made.format, made.size) == ("AVIF", (128, 96))


def test_a_client_that_cannot_follow_a_redirect_gets_json(functions: Functions, aws: Aws) -> None:
    first, second = (
        asked(functions, "application/json", width="64", format="jpeg") for _ in range(2)
    )
    for response in (first, second):
        link = response["json"]
        [key] = stored(aws)
        assert (response["statusCode"], urlsplit(link.pop("url")).path) == (200, f"/{key}")
        assert datetime.fromisoformat(link.pop("expires_at")) > datetime.now(UTC)
        length = aws.s3.head_object(Bucket="images", Key=key)["ContentLength"]
        expected = {"width": 64, "height": 48, "content_type": "image/jpeg", "bytes": length}
        assert link == expected


@pytest.mark.parametrize(
    ("query", "name"),
    [({}, "F\u00fcchse.jpg"), ({"format": "webp"}, "F\u00fcchse.webp")],
    ids=["image", "rendition"],
)
def test_a_download_has_a_name(functions: Functions, query: dict[str, str], name: str) -> None:
    location = asked(functions, download="F\u00fcchse.png", **query)["headers"]["Location"]
    [header] = parse_qs(urlsplit(location).query)["response-content-disposition"]
    kind, plain, full = header.split("; ")
    assert (kind, plain) == ("attachment", f'filename="{name.replace(chr(252), "_")}"')
    assert unquote(full) == f"filename*=UTF-8''{name}"


@pytest.mark.parametrize(
    ("query", "loc"),
    [({"width": "384"}, "width"), ({"width": "1"}, "width"), ({"format": "exe"}, "format"),
     ({"width": ""}, "width"), ({"download": "../x"}, "download"), ({"height": "64"}, "height")],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_and_makes_nothing(
    functions: Functions, aws: Aws, query: dict[str, str], loc: str
) -> None:
    response = asked(functions, **query)
    assert (response["statusCode"], response["json"]["code"]) == (422, "validation_error")
    assert [error["loc"] for error in response["json"]["detail"]] == [["query", loc]]
    assert not stored(aws)


def test_a_deleted_job_leaves_no_rendition_and_other_jobs_keep_theirs(
    functions: Functions, aws: Aws
) -> None:
    for width in ("64", "128"):
        asked(functions, width=width)
    aws.s3.put_object(Bucket="images", Key=f"_renditions/demo/{ID}x/0.w64.webp", Body=b"x")
    assert len(stored(aws)) == 3
    assert functions.jobs(load_event("delete"))["statusCode"] == 204
    assert stored(aws, "") == [f"_renditions/demo/{ID}x/0.w64.webp"]
    assert asked(functions, width="64")["statusCode"] == 410


def test_a_job_has_the_placeholders_of_its_images(functions: Functions) -> None:
    [image] = functions.jobs(load_event("job"))["json"]["images"]
    assert image["thumbhash"] == make_thumbhash(read_image(jpeg(320, 240)))


def store(aws: Aws) -> RenditionStore:
    return RenditionStore(aws.s3, "images", url_ttl=timedelta(hours=1))


def test_a_rendition_of_an_image_that_was_deleted_meanwhile_is_not_kept(aws: Aws) -> None:
    with pytest.raises(GoneError):
        store(aws).save(f"demo/{ID}/1.jpg", SMALL, b"webp")
    assert not stored(aws)


def test_a_rendition_that_ends_before_its_link_is_made_anew(aws: Aws) -> None:
    key = f"demo/{ID}/0.jpg"
    saved = store(aws).save(key, SMALL, b"webp")
    end = datetime.now(UTC) + KEEP
    assert store(aws).find(key, SMALL, now=end - timedelta(hours=1, minutes=1)) == saved
    assert store(aws).find(key, SMALL, now=end - timedelta(minutes=59)) is None
