"""The door for OpenAI's Images API, called by OpenAI's own SDK, on moto."""

import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import openai
import pytest
from openai import OpenAI, _base_client

from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.errors import ContentPolicyError, Sd3Error, UpstreamFailedError, UpstreamUnavailableError
from tests.integration.conftest import Functions, load_event
from tests.support.factories.images import image, jpeg, png
from tests.support.fakes.ports import FakeUpstream
from tests.support.openai_sdk import images_of, python_client
from tests.support.servers.function_server import FunctionServer
from tests.support.servers.scripted_server import Received

ROUTES: Final = {
    "/images/generations": {},
    "/images/edits": {},
    "/models": {},
    "/models/sd3": {"model": "sd3"},
    "/models/dall-e-3": {"model": "dall-e-3"},
}


def event_of(method: str, path: str, body: bytes = b"", content_type: str = "") -> dict[str, Any]:
    """Make the event of a request; the gateway hands forms on in base64."""
    is_form = content_type.startswith("multipart/form-data")
    event = load_event("generate")
    event["headers"]["Content-Type"] = content_type or "application/json"
    event["multiValueHeaders"] = None
    return event | {
        "httpMethod": method,
        "path": path,
        "resource": "/models/{model}" if ROUTES[path] else path,
        "pathParameters": ROUTES[path] or None,
        "body": base64.b64encode(body).decode() if is_form else body.decode(errors="replace"),
        "isBase64Encoded": is_form,
    }


def event_of_received(received: Received) -> dict[str, Any]:
    content_type = received.headers.get("content-type", "")
    path, _, query = received.path.partition("?")
    event = event_of(received.method, path, received.body, content_type)
    return event | {"queryStringParameters": dict(parse_qsl(query)) or None}


@pytest.fixture
def service(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[FunctionServer]:
    """Provide the function behind HTTP, where the SDK's pauses move the service's clock too."""
    worked_at = getattr(request, "param", 1e9)
    with FunctionServer(functions.generate, event_of_received, worked_at=worked_at) as service:
        clock = service.time.time()._replace(sleep=service.sleep)
        monkeypatch.setattr(bootstrap, "clock", lambda: clock)
        paused = SimpleNamespace(sleep=service.sleep, time=lambda: 0.0)
        monkeypatch.setattr(_base_client, "time", paused)
        yield service


@pytest.fixture
def sdk(service: FunctionServer) -> Iterator[OpenAI]:
    with httpx.Client(trust_env=False) as connection:
        yield python_client(service.url, "token", connection)


def job_ids(aws: Aws) -> set[str]:
    items = aws.dynamodb.scan(TableName="jobs")["Items"]
    return {item["id"]["S"] for item in items if "document" in item}


@pytest.mark.parametrize("service", [40], indirect=True)
def test_a_504_is_repeated_by_the_sdk_and_the_image_is_paid_once(
    sdk: OpenAI, service: FunctionServer, upstream: FakeUpstream, aws: Aws
) -> None:
    made = sdk.images.generate(prompt="a fox", n=8, response_format="url")
    assert len(service.requests) == 2
    assert [bool(item.url) for item in made.data or ()] == [True] * 8
    assert (len(upstream.calls), job_ids(aws)) == (1, {"call-1"})


def test_the_sdk_gives_up_with_the_id_of_the_one_job(
    sdk: OpenAI, service: FunctionServer, aws: Aws
) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        sdk.images.generate(prompt="a fox", n=8)
    assert (failed.value.status_code, failed.value.code) == (504, "still_running")
    assert isinstance(failed.value.body, dict)
    assert {failed.value.body["job_id"]} == job_ids(aws) == {"call-1"}
    assert len(service.requests) == 3


def test_a_call_that_has_its_answer_is_not_adopted_by_the_next(sdk: OpenAI, aws: Aws) -> None:
    ids = {(sdk.images.generate(prompt="a fox").model_extra or {})["id"] for _ in range(2)}
    assert ids == job_ids(aws) == {"call-1", "call-2"}


@pytest.mark.parametrize(
    ("error", "kind", "calls", "code"),
    [
        (ContentPolicyError("No."), openai.BadRequestError, 1, "moderation_blocked"),
        (UpstreamFailedError("broken"), openai.InternalServerError, 1, "upstream_error"),
        (UpstreamUnavailableError("busy"), openai.InternalServerError, 3, "upstream_unavailable"),
    ],
)
def test_a_failure_is_the_sdks_own_error_and_repeated_where_that_is_free(
    sdk: OpenAI,
    service: FunctionServer,
    upstream: FakeUpstream,
    error: Sd3Error,
    kind: type[openai.APIStatusError],
    calls: int,
    code: str,
) -> None:
    upstream.errors = [error] * 60
    with pytest.raises(kind) as failed:
        sdk.images.generate(prompt="a fox")
    assert (failed.value.code, len(service.requests)) == (code, calls)


def test_an_answer_whose_images_were_all_removed_is_an_error(
    sdk: OpenAI, upstream: FakeUpstream
) -> None:
    upstream.removed = {0}
    with pytest.raises(openai.BadRequestError) as failed:
        sdk.images.generate(prompt="a fox")
    assert failed.value.code == "moderation_blocked"
    assert failed.value.type == "image_generation_user_error"
    upstream.removed = {1}
    made = sdk.images.generate(prompt="a fox", n=2)
    assert [item.model_extra["index"] for item in made.data or () if item.model_extra] == [0]


@pytest.mark.parametrize(
    ("asked", "has_b64", "has_url"),
    [({}, True, True), ({"response_format": "url"}, False, True),
     ({"response_format": "b64_json"}, True, False)],
)  # fmt: skip
def test_an_image_is_there_as_the_client_reads_it(
    sdk: OpenAI, asked: Any, has_b64: bool, has_url: bool
) -> None:
    query = {"api-version": "2026-01-01"}
    [item] = images_of(sdk.images.generate(prompt="a fox", extra_query=query, **asked))
    assert ("b64_json" in item, "url" in item) == (has_b64, has_url)


def test_all_fields_of_openai_are_taken_and_those_without_effect_are_named(
    sdk: OpenAI, upstream: FakeUpstream
) -> None:
    made = sdk.images.generate(
        prompt="a fox", model="gpt-image-2", n=2, size="1536x1024", quality="high",
        output_format="jpeg", output_compression=80, background="opaque", moderation="low",
        style="vivid", user="u-1", partial_images=0,
        extra_body={"seed": 7, "num_inference_steps": 20, "guidance_scale": 5, "frame_rate": 3},
    )  # fmt: skip
    assert made.model_extra
    assert set(made.model_extra["ignored"]) == {
        "model", "quality", "size", "output_compression", "moderation", "style", "user",
        "frame_rate",
    }  # fmt: skip
    [asked] = upstream.calls
    assert (asked.width, asked.height, asked.steps, asked.cfg_scale) == (1216, 832, 20, 5)
    assert [item.model_extra["seed"] for item in made.data or () if item.model_extra] == [7, 8]


def test_an_edit_sends_the_image_on_from_a_form_and_from_json(
    sdk: OpenAI, upstream: FakeUpstream
) -> None:
    fox = jpeg(64, 64)
    sdk.images.edit(image=("../../etc/passwd", fox), prompt="a hat", n=1, size="1024x1024")
    sdk.images.edit(image=[fox], prompt="a hat")
    uri = f"data:image/jpeg;base64,{base64.b64encode(fox).decode()}"
    for image_field in ({"image": uri}, {"images": [{"image_url": uri}]}):
        sdk.post("/images/edits", body={"prompt": "a hat", **image_field}, cast_to=object)
    sent = [one and one.data for one in upstream.init_images]
    assert sent == [fox] * 4


def form(*parts: tuple[str, bytes], boundary: str = "b", end: str = "--b--\r\n") -> bytes:
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + content + b"\r\n"
        for name, content in parts
    ]  # fmt: skip
    return b"".join(lines) + end.encode()


FORM: Final = "multipart/form-data; boundary=b"
PROMPT: Final = ("prompt", b"a fox")
PICTURE: Final = ("image", jpeg(64, 64))


@pytest.mark.parametrize(
    ("content_type", "body", "param"),
    [
        ("multipart/form-data", form(PROMPT, PICTURE), None),
        ("multipart/form-data; boundary=c", form(PROMPT, PICTURE), None),
        (FORM, form(PROMPT, PICTURE)[:-20], None),
        (FORM, form(PROMPT, PICTURE, end=""), None),
        (FORM, b"", None),
        (FORM, form(("prompt", b"\xff"), PICTURE), "prompt"),
        (FORM, form(PROMPT, PROMPT, PICTURE), "prompt"),
        (FORM, form(*[("a", b"")] * 65), None),
        (FORM, form(PROMPT), "image"),
        (FORM, form(PROMPT, ("image", b"")), "image"),
        (FORM, form(PROMPT, ("image", b"no image")), "image"),
        (FORM, form(PROMPT, ("image", b"data:\xff")), "image"),
        (FORM, form(PROMPT, ("image", image(64, 64, kind="gif"))), "image"),
        (FORM, form(PROMPT, *[("image[]", png(64, 64))] * 17), "image"),
        (FORM, form(PROMPT, PICTURE, ("mask", png(64, 64))), "mask"),
        (FORM, form(PROMPT, PICTURE, ("n", b"two")), "n"),
        (FORM, form(PROMPT, PICTURE, ("stream", b"perhaps")), "stream"),
        ("", b'{"prompt": "a", "images": [{"file_id": "f"}]}', "images"),
        ("", b'{"prompt": "a", "image": "https://example.com/a.png"}', "image"),
        ("", b'{"prompt": "a", "image": 7}', "image"),
        ("", b"[]", None),
        ("", b"{", None),
    ],
)
def test_a_wrong_edit_is_a_400_in_openais_shape_and_calls_no_upstream(
    functions: Functions,
    upstream: FakeUpstream,
    content_type: str,
    body: bytes,
    param: str | None,
) -> None:
    response = functions.generate(event_of("POST", "/images/edits", body, content_type))
    assert response["statusCode"] == 400
    error = response["json"]["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert not upstream.calls


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": "a" * 32_001}, "prompt", "string_above_max_length"),
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 17}, "n", "integer_above_max_value"),
        ({"n": "2"}, "n", "invalid_value"),
        ({"size": "1x1"}, "size", "invalid_value"),
        ({"size": "abc"}, "size", "invalid_value"),
        ({"size": "4096x4096"}, "size", "invalid_value"),
        ({"size": "3840x3840"}, "size", "invalid_value"),
        ({"size": 1024}, "size", "invalid_value"),
        ({"model": 7}, "model", "invalid_value"),
        ({"background": "transparent"}, "background", "unsupported_value"),
        ({"mask": "data:"}, "mask", "unsupported_value"),
        ({"output_format": "webp"}, "output_format", "unsupported_value"),
        ({"output_format": ["png"]}, "output_format", "unsupported_value"),
        ({"response_format": "binary"}, "response_format", "invalid_value"),
        ({"stream": 1}, "stream", "invalid_value"),
        ({"response_format": "b64_json", "n": 5}, "n", "unsupported_value"),
        ({"stream": True, "n": 2, "output_format": "png"}, "n", "unsupported_value"),
        ({"seed": 0}, "seed", "integer_below_min_value"),
        ({str(number): number for number in range(101)}, None, "invalid_value"),
    ],
)
def test_a_wrong_field_is_a_400_in_openais_shape_and_calls_no_upstream(
    functions: Functions,
    upstream: FakeUpstream,
    fields: dict[str, Any],
    param: str | None,
    code: str,
) -> None:
    body = json.dumps({"prompt": "a fox"} | fields).encode()
    response = functions.generate(event_of("POST", "/images/generations", body))
    assert response["statusCode"] == 400
    error = response["json"]["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id", "job_id"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert not upstream.calls


def test_a_stream_is_one_event_for_each_image(sdk: OpenAI) -> None:
    events = list(sdk.images.generate(prompt="a fox", n=2, stream=True))
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert all(event.b64_json for event in events)
    edited = list(sdk.images.edit(image=jpeg(64, 64), prompt="a hat", stream=True))
    assert [event.type for event in edited] == ["image_edit.completed"]


def test_the_one_model_is_listed_and_found_by_its_name(sdk: OpenAI) -> None:
    [model] = sdk.models.list()
    assert sdk.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("dall-e-3")


@pytest.mark.parametrize(("scopes", "status"), [("read", 403), (None, 401)])
@pytest.mark.parametrize("path", ["/images/generations", "/images/edits"])
def test_a_call_without_its_scope_is_refused_in_openais_shape(
    functions: Functions, path: str, scopes: str | None, status: int
) -> None:
    event = event_of("POST", path, b"{}")
    authorizer = {"client_id": "demo", "scopes": scopes}
    event["requestContext"]["authorizer"] = authorizer if scopes else None
    response = functions.generate(event)
    assert response["statusCode"] == status
    assert response["json"]["error"]["code"] == {
        401: "invalid_api_key", 403: "insufficient_permissions"
    }[status]  # fmt: skip


def test_an_idempotency_key_of_the_client_is_kept(
    sdk: OpenAI, service: FunctionServer, upstream: FakeUpstream
) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first, second = (sdk.images.generate(prompt="a fox", extra_headers=headers) for _ in range(2))
    assert (first.model_extra or {})["id"] == (second.model_extra or {})["id"]
    for prompt, size in (("a hat", "auto"), ("a fox", "256x256")):
        with pytest.raises(openai.ConflictError):
            sdk.images.generate(prompt=prompt, size=size, extra_headers=headers)
    assert (len(upstream.calls), len(service.requests)) == (1, 4)
