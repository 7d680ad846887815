"""The API's document, held against the template, the errors and the request's own checks."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from aws_lambda_powertools.event_handler.openapi.models import OpenAPI

from sd3.domain.request import GenerateRequest
from sd3.domain.request_checks import SIZES
from sd3.errors import InvalidRequestError, Sd3Error
from tests.support.factories.template import api_body
from tools.openapi import document as openapi

NO_PART = {"/docs/{file}", "/mcp"}
"""The files of the page, and the address of a protocol whose messages describe its tools."""

HOOK = {"url": "https://example.com/hooks"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "options":
                yield method, path, operation


def errors(kind: type[Sd3Error] = Sd3Error) -> Iterator[type[Sd3Error]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from errors(derived)


def test_it_is_what_powertools_takes_for_an_openapi_document(document: dict[str, Any]) -> None:
    assert OpenAPI.model_validate(document).openapi == "3.1.0"


def test_it_has_every_route_of_the_template_and_marks_open_ones(document: dict[str, Any]) -> None:
    deployed = {
        (method, path): operation.get("security") != [{"ClientToken": []}]
        for method, path, operation in operations(api_body())
    }
    documented = {
        (method, path): operation.get("security") == []
        for method, path, operation in operations(document)
    }
    assert documented == {route: deployed[route] for route in deployed if route[1] not in NO_PART}
    assert {path for _, path in deployed.keys() - documented.keys()} == NO_PART


def test_it_has_every_code_with_its_status(document: dict[str, Any]) -> None:
    documented = set()
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            if "$ref" in response:
                name = response["$ref"].rpartition("/")[2]
                documented |= {(int(status), code) for code in name.split("_or_")}
    assert documented == {(error.status, error.code) for error in errors()}


def test_operation_ids_are_unique_and_every_reference_resolves(
    document: dict[str, Any],
) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def references(part: Any) -> Iterator[str]:
    match part:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for value in part.values():
                yield from references(value)
        case list():
            for value in part:
                yield from references(value)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": " \u200b"},
        {"prompt": "\u200bx\n"},
        {"prompt": "F\ufffdchslein"},
        {"prompt": "x", "negative_prompt": " "},
        {"prompt": "x", "negative_prompt": "F\ufffdchslein"},
        {"prompt": "x", "steps": 30.0, "num_images": 1.0, "width": 1024.0, "seed": [7.0]},
        {"prompt": "x", "steps": 30.5},
        {"prompt": "x", "seed": "7"},
        {"prompt": "x", "num_images": True},
        {"prompt": "x", "unknown": 1},
        {"prompt": "x", "sampler": None, "controlnet_image": None, "inpaint_base": None},
        {"prompt": "x", "sampler": "ddim"},
        {"prompt": "x", "controlnet_image": "x"},
        {"prompt": None},
        {"prompt": "x", "metadata": None},
        {"prompt": "x", "metadata": {"a": "b"}},
        {"prompt": "x", "metadata": {str(number): "" for number in range(17)}},
        {"prompt": "x", "cfg_scale": 0},
        {"prompt": "x", "seed": [1, None], "num_images": 2},
        {"prompt": "x", "seed": 0},
        {"prompt": "x", "response_format": None},
        {"prompt": "x", "init_image_id": "0" * 32, "init_image": None},
        {"prompt": "x", "init_image_id": "0" * 31},
        {"prompt": "x", "image_encoding": "webp"},
        {"prompt": "x", "webhook": HOOK},
        {"prompt": "x", "webhook": HOOK | {"events": ["job.failed"]}},
        {"prompt": "x", "webhook": HOOK | {"events": []}},
        {"prompt": "x", "webhook": HOOK | {"events": ["job.failed"] * 2}},
        {"prompt": "x", "webhook": HOOK | {"events": ["webhook.test"]}},
        {"prompt": "x", "webhook": HOOK | {"secret": "mine"}},
        {"prompt": "x", "webhook": {"url": "https://example.com/" + "x" * 2029}},
        {"prompt": "x", "webhook": {}},
        {"prompt": "x", "webhook": HOOK, "dry_run": True},
        {"prompt": "x", "webhook": None, "dry_run": True},
        *({"prompt": "x", name: None} for name in GenerateRequest.model_fields if name != "prompt"),
        *({"prompt": "x", "width": width, "height": height} for width, height in SIZES),
        {"prompt": "x", "width": 1024},
        {"prompt": "x", "height": 1024, "width": None},
        {"prompt": "x", "width": 1536},
        {"prompt": "x", "width": 1536, "height": None},
        {"prompt": "x", "width": 640, "height": 640},
    ],
)
def test_its_request_is_the_one_that_is_taken(
    document: dict[str, Any], body: dict[str, Any]
) -> None:
    schema = document["components"]["schemas"]["GenerateRequest"]
    try:
        GenerateRequest.from_values(body)
        taken = True
    except InvalidRequestError:
        taken = False
    whole = {**schema, "components": document["components"]}
    assert jsonschema_rs.Draft202012Validator(whole).is_valid(body) == taken


def examples(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield every example of a body, with its schema."""
    responses = [*document["components"]["responses"].values()]
    for _, _, operation in operations(document):
        responses += [
            response for response in operation["responses"].values() if "$ref" not in response
        ]
        responses += [operation["requestBody"]] if "requestBody" in operation else []
    for response in responses:
        for content in response.get("content", {}).values():
            values = [named["value"] for named in content.get("examples", {}).values()]
            values += [content["example"]] if "example" in content else []
            yield from ((content["schema"], value) for value in values)


def test_every_example_matches_its_schema(document: dict[str, Any]) -> None:
    found = list(examples(document))
    assert len(found) > 20
    for schema, value in found:
        whole = {**schema, "components": document["components"]}
        assert not list(jsonschema_rs.Draft202012Validator(whole).iter_errors(value)), value


def test_every_error_has_an_example(document: dict[str, Any]) -> None:
    for name, response in document["components"]["responses"].items():
        shown = response["content"]["application/json"]["examples"]
        assert [named["value"]["code"] for named in shown.values()] == name.split("_or_")


def test_the_requests_that_are_shown_can_be_sent_as_they_are(document: dict[str, Any]) -> None:
    body = document["paths"]["/generate/sd3"]["post"]["requestBody"]["content"]["application/json"]
    shown = [named["value"] for named in body["examples"].values()]
    assert shown[0].keys() == {"prompt"}
    for request in shown:
        GenerateRequest.from_values(request)
