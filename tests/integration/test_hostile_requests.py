"""Events that no gateway should make, and requests that no client would send by mistake."""

import base64
import json
import re
from typing import Any, Final

import pytest

from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.job_items import item_from
from sd3.errors import UpstreamResponseError
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import black_png, chunk, flat, jpeg, png
from tests.support.factories.stored_jobs import job
from tests.support.fakes.ports import FakeUpstream

ROUTES: Final = ("job", "cancel", "delete", "image")
FORGED: Final = '\n{"level":"ERROR","forged":true}\r\n\x1b[2J\x00'
"""A line of its own, were it logged as it is."""


def stored(aws: Aws) -> list[str]:
    """Ids of all that is in the jobs table, and keys of all that is in the bucket."""
    items = aws.dynamodb.scan(TableName="jobs")["Items"]
    objects = aws.s3.list_objects_v2(Bucket="images").get("Contents", [])
    return [item["id"]["S"] for item in items] + [one["Key"] for one in objects]


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def of_depth(depth: int) -> str:
    return '{"prompt": "x", "metadata": ' + '{"a": ' * depth + "1" + "}" * depth + "}"


@pytest.mark.parametrize(
    ("body", "is_base64", "status"),
    [
        (of_depth(10_000), False, 400),
        (of_depth(100), False, 422),
        ('{"prompt": "x", "seed": ' + "[" * 10_000 + "]" * 10_000 + "}", False, 400),
        ('{"prompt": "x", "prompt": "y"}', False, 400),
        ('{"prompt": "x", "seed": 1e400}', False, 422),
        ('{"prompt": "x", "seed": ' + "9" * 5000 + "}", False, 400),
        ('{"prompt": "x", "cfg_scale": NaN}', False, 400),
        ('{"prompt": "\\ud800"}', False, 400),
        ('{"prompt": "\ud800"}', False, 400),
        (None, False, 400),
        (None, True, 400),
        ("\x00", False, 400),
        ("%", True, 400),
        ("e30", True, 400),
        ("é", True, 400),
        ("\ud800", True, 400),
        (encoded(b"\x1f\x8b\x08\x00"), True, 400),
        (encoded(b'{"prompt": "\xff"}'), True, 400),
        (encoded(of_depth(10_000).encode()), True, 400),
        (encoded(b"{}"), True, 422),
        (encoded(b'{"prompt": "x"}'), False, 400),
        ('{"prompt": "x"}', True, 400),
        ('{"prompt": " "}', False, 422),
        ('{"prompt": "F\ufffdchslein"}', False, 422),
        ('{"prompt": "x"}'.encode("utf-16").decode(errors="replace"), False, 400),
        (encoded('{"prompt": "x"}'.encode("utf-16")), True, 400),
        (encoded('{"prompt": "Füchslein"}'.encode("latin-1")), True, 400),
    ],
)
def test_a_hostile_body_is_rejected_and_leaves_nothing(
    functions: Functions, aws: Aws, body: str | None, is_base64: bool, status: int
) -> None:
    event = load_event("generate") | {"body": body, "isBase64Encoded": is_base64}
    response = functions.generate(event)
    code = {400: "invalid_json", 422: "validation_error"}[status]
    assert (response["statusCode"], response["json"]["code"]) == (status, code)
    assert stored(aws) == []


@pytest.mark.parametrize(
    "image",
    [
        flat(4097, 4097),
        black_png(4096, 4096, more_bytes=-50_000_000),
        png()[:-12] + chunk(b"iCCP", b"x\0\0") * 10_000 + png()[-12:],
        jpeg(progressive=True)[:-2] + b"\xff\xda\0\x08\x01\x01\0\x01\x3f\0" * 10_000 + b"\xff\xd9",
        jpeg()[:2] + b"\xff\xe1\0\x08Exif\0\0" * 10_000 + jpeg()[2:],
    ],
    ids=["too large", "fewer pixels than it says", "profiles", "scans", "EXIF"],
)
def test_a_hostile_image_is_rejected_and_leaves_nothing(
    functions: Functions, aws: Aws, image: bytes
) -> None:
    response = functions.generate(load_event("generate", init_image=encoded(image)))
    (error,) = response["json"]["detail"]
    assert (response["statusCode"], error["loc"]) == (422, ["body", "init_image"])
    assert error["type"] == "picture"
    assert stored(aws) == []


def test_no_length_or_coding_that_a_client_claims_is_believed(functions: Functions) -> None:
    event = load_event("generate")
    claims = {"Content-Length": "0", "Transfer-Encoding": "chunked"}
    event["headers"] |= {**claims, "Content-Encoding": "gzip"}
    event["multiValueHeaders"] |= {name: [text, "7"] for name, text in claims.items()}
    assert functions.generate(event)["statusCode"] == 200


def test_an_event_without_headers_is_read(functions: Functions) -> None:
    event = load_event("generate") | {"headers": None, "multiValueHeaders": None}
    assert functions.generate(event)["statusCode"] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": ["a", "b"]},
        {"Idempotency-Key": ["a"], "IDEMPOTENCY-KEY": ["a"]},
        {"idempotency-key": [FORGED]},
        {"Idempotency-Key": ["x" * 256]},
    ],
)
def test_duplicate_keys_are_rejected(
    functions: Functions, aws: Aws, headers: dict[str, list[str]]
) -> None:
    event = load_event("generate")
    event["headers"] |= {name: values[-1] for name, values in headers.items()}
    event["multiValueHeaders"] |= headers
    response = functions.generate(event)
    assert response["json"]["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert stored(aws) == []


@pytest.mark.parametrize(
    "request_id",
    [None, 7, "", "=", "..", "a/b", "x" * 129, "key#ann#" + "0" * 64, "%2e", "a b", "ä", FORGED],
)
def test_an_id_that_the_gateway_would_not_give_is_no_jobs_and_no_other_items_key(
    functions: Functions, aws: Aws, request_id: object
) -> None:
    event = load_event("generate")
    event["requestContext"]["extendedRequestId"] = request_id
    job_id = functions.generate(event)["json"]["id"]
    assert re.fullmatch("[0-9a-f]{32}", job_id)
    assert stored(aws) == [job_id, f"demo/{job_id}/0.jpg"]


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize(
    "job_id",
    ["", "../x", "%2e%2e", "..%2f..", "x\x00", "%00", "x" * 3000, "key#demo#" + "0" * 64, "\ud800"],
)
def test_a_path_is_no_way_to_another_item(functions: Functions, name: str, job_id: str) -> None:
    event = load_event(name)
    event["pathParameters"]["id"] = job_id
    response = functions.jobs(event)
    assert (response["statusCode"], response["json"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "index",
    [
        "",
        "00",
        "+0",
        "-0",
        " 0",
        "0.0",
        "0_0",
        "0x0",
        "0e0",
        "\u0660",
        "0\x00",
        "../0",
        "%30",
        "init",
        "9" * 5000,
    ],
)
def test_only_the_index_itself_leads_to_an_image(functions: Functions, index: str) -> None:
    functions.generate(load_event("generate"))
    event = load_event("image")
    event["pathParameters"]["index"] = index
    assert functions.jobs(event)["statusCode"] == 404


def test_texts_of_any_characters_are_stored_and_returned(
    functions: Functions, upstream: FakeUpstream
) -> None:
    metadata = {FORGED: FORGED, "\x00": "\u202e\U0010ffff"}
    response = functions.generate(load_event("generate", prompt=FORGED, metadata=metadata))
    assert response["statusCode"] == 200
    assert upstream.calls[0].prompt == FORGED
    assert functions.jobs(load_event("job"))["json"]["metadata"] == metadata


def lines(text: str) -> list[dict[str, Any]]:
    """Parse a log's lines, each of which must be JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_nothing_that_a_client_sends_makes_a_line_of_the_log(
    functions: Functions, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = {"prompt": FORGED, "negative_prompt": FORGED, "metadata": {FORGED: FORGED}}
    for error in (None, UpstreamResponseError("cut off")):
        upstream.errors = [error] if error else []
        for body in ("{", json.dumps(sent), json.dumps(sent | {FORGED: 1})):
            event = load_event("generate") | {"body": body}
            for name in ("User-Agent", "Origin", "X-Forwarded-For", "Traceparent", "Prefer"):
                event["headers"][name] = FORGED
                event["multiValueHeaders"][name] = [FORGED]
            event["requestContext"]["extendedRequestId"] = f"{len(body)}-{bool(error)}"
            functions.generate(event)
    forged_ids = load_event("generate", seed=0)
    forged_ids["requestContext"] |= {"requestId": FORGED, "extendedRequestId": FORGED}
    functions.generate(forged_ids)
    logged = lines(capsys.readouterr().out)
    assert [line.get("code") for line in logged if "_aws" not in line] == [
        "invalid_json", "validation_error",
        "invalid_json", "upstream_error", "validation_error",
        "validation_error",
    ]  # fmt: skip
    assert "forged" not in json.dumps(logged)


@pytest.mark.parametrize("name", [*ROUTES, "list_jobs"])
def test_a_job_that_cannot_be_read_is_not_quoted(
    functions: Functions,
    aws: Aws,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    item = item_from(job(load_event("job")["pathParameters"]["id"], client_id="demo"))
    item |= {"status": {"S": "succeeded"}, "ttl": {"N": "9999999999"}}
    item |= {"document": {"S": '{"request": {"prompt": "canary"}, "seeds": "canary"}'}}
    aws.dynamodb.put_item(TableName="jobs", Item=item)
    response = functions.jobs(load_event(name))
    logged = capsys.readouterr().out + caplog.text
    if name == "list_jobs":  # the other jobs can be seen
        assert response["json"] == {"jobs": [], "next_cursor": None}
    else:
        assert (response["statusCode"], response["json"]["code"]) == (500, "internal_error")
    assert "cannot be read" in logged
    assert "canary" not in logged + response["body"]
