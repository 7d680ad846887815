"""python -m local.openapi FOLDER: write what the API says of itself, openapi.json and docs.html.

Schemas are pydantic's, of the models that the functions use; what stands between fields or is
checked before the models is added here.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from local.docs import page
from local.environment import ROOT
from local.operations import OPERATIONS, RETRY_AFTER, Answer, Header, Operation, Parameter
from sd3.contract import (
    MAX_FIELDS,
    OCTOAI_OPTIONAL,
    OTHER_MODELS_FIELDS,
    OTHER_MODELS_PREFIXES,
    SIZES,
    GenerateRequest,
)
from sd3.errors import Sd3Error
from sd3.models import ErrorAnswer

Json = dict[str, Any]

_DESCRIPTION: Final = (
    "Stable Diffusion 3 pictures: OctoAI's SD3 API, and jobs on top of it. Send `Authorization: "
    "Bearer` and a token; GET takes one with the scope `read`, every other method one with "
    "`generate`. An address that is not here is a 404 with the code `not_found`."
)
_TAGS: Final = {
    "pictures": "What draws.",
    "jobs": "What was drawn, or will be.",
    "usage": "What it costs.",
    "service": "What is open to everybody.",
}
_NULL: Final = {"type": "null"}
_REF: Final = "#/components/schemas/{model}"
_CHALLENGE: Final = Header("WWW-Authenticate", "What to send.", {"const": "Bearer"})
_ERROR_HEADERS: Final = {401: (_CHALLENGE,), 429: (RETRY_AFTER,), 503: (RETRY_AFTER,), 504: (RETRY_AFTER,)}


def document() -> Json:
    """The OpenAPI document of all operations."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    failures = {_codes(group): group for each in OPERATIONS for group in _by_status(each.errors)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SD3 image service",
            "version": project["version"],
            "summary": project["description"],
            "description": _DESCRIPTION,
        },
        "servers": [{"url": ".", "description": "Where this document came from."}],
        "security": [{"bearerAuth": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
            "responses": {name: _failure(group) for name, group in sorted(failures.items())},
            "schemas": _schemas(),
        },
    }


def _operation(operation: Operation) -> Json:
    told: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
    }
    if operation.description:
        told["description"] = operation.description
    if operation.is_open:
        told["security"] = []
    parameters = [*map(_parameter, operation.parameters), *_query(operation.query)]
    if parameters:
        told["parameters"] = parameters
    if operation.body:
        content = {"application/json": {"schema": _ref(operation.body)}}
        told["requestBody"] = {"required": True, "content": content}
    answers = {str(answer.status): _answer(answer) for answer in operation.answers}
    failures = {
        str(group[0].status): {"$ref": f"#/components/responses/{_codes(group)}"}
        for group in _by_status(operation.errors)
    }
    return told | {"responses": answers | failures}


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _query(model: type[BaseModel] | None) -> list[Json]:
    """The parameters of a query. Their null is to be left out, which no query can say."""
    if model is None:
        return []
    parameters = []
    for name, schema in model.model_json_schema(ref_template=_REF)["properties"].items():
        description = schema.pop("description")
        kinds = [kind for kind in schema.pop("anyOf", [schema]) if kind != _NULL]
        parameters.append(Parameter(name, "query", description, kinds[0]))
    return [_parameter(parameter) for parameter in parameters]


def _answer(answer: Answer) -> Json:
    told: Json = {"description": answer.description}
    if answer.headers:
        told["headers"] = _headers(answer.headers)
    schemas = [_ref(model) for model in answer.models]
    if schemas:
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        told["content"] = {answer.media_type: {"schema": schema}}
    elif answer.status == HTTPStatus.OK:
        kind = "object" if answer.media_type == "application/json" else "string"
        told["content"] = {answer.media_type: {"schema": {"type": kind}}}
    return told


def _headers(headers: Iterable[Header]) -> Json:
    return {
        header.name: {
            "description": header.description,
            "required": header.always,
            "schema": header.schema,
        }
        for header in headers
    }


def _by_status(errors: Iterable[type[Sd3Error]]) -> list[tuple[type[Sd3Error], ...]]:
    ordered = sorted(errors, key=lambda error: error.status)
    return [tuple(group) for _, group in groupby(ordered, key=lambda error: error.status)]


def _codes(errors: Iterable[type[Sd3Error]]) -> str:
    """What such errors are called together."""
    return "_or_".join(error.code for error in errors)


def _failure(errors: tuple[type[Sd3Error], ...]) -> Json:
    """The answer to errors of one status."""
    status = errors[0].status
    code = {"enum": [error.code for error in errors]}
    required = ["detail"] if status == HTTPStatus.UNPROCESSABLE_ENTITY else []
    told: Json = {
        "description": " ".join((error.__doc__ or "").partition("\n")[0] for error in errors),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [_ref(ErrorAnswer), {"properties": {"code": code}}],
                    "required": required,
                }
            }
        },
    }
    if status in _ERROR_HEADERS:
        told["headers"] = _headers(_ERROR_HEADERS[status])
    return told


def _schemas() -> Json:
    """Every model by its name, and what it refers to."""
    bodies = {operation.body for operation in OPERATIONS if operation.body}
    queries = {operation.query for operation in OPERATIONS if operation.query}
    answers = {model for each in OPERATIONS for answer in each.answers for model in answer.models}
    # An answer always has all fields; errors leave out those that are null.
    taken = [*sorted(bodies | queries | {ErrorAnswer}, key=_name)]
    _, told = models_json_schema(
        [(model, "validation") for model in taken]
        + [(model, "serialization") for model in sorted(answers, key=_name)],
        ref_template=_REF,
    )
    schemas: Json = told["$defs"]
    for query in queries:
        del schemas[_name(query)]
    schemas[_name(GenerateRequest)] = _as_accepted(schemas[_name(GenerateRequest)])
    return schemas


def _as_accepted(schema: Mapping[str, Any]) -> Json:
    """The request's schema with what is accepted beyond its model, and refused between fields."""
    fields: Json = {}
    for name, told in schema["properties"].items():
        fields[name] = _nullable(told) if name in OCTOAI_OPTIONAL else told
    for name in sorted(OTHER_MODELS_FIELDS):
        fields[name] = _NULL | {"description": "Of OctoAI's other models: null only."}
    prefixes = "|".join(map(re.escape, OTHER_MODELS_PREFIXES))
    both = {"init_image": {"type": "string"}, "init_image_id": {"type": "string"}}
    return {
        **schema,
        "properties": fields,
        "patternProperties": {f"^({prefixes})": _NULL},
        "maxProperties": MAX_FIELDS,
        "anyOf": [_size(width, height) for width, height in SIZES],
        "not": {"properties": both, "required": [*both]},
    }


def _nullable(told: Mapping[str, Any]) -> Json:
    """A field that takes null, for its default."""
    if _NULL in told.get("anyOf", ()):
        return dict(told)
    notes = {name: told[name] for name in ("default", "description", "title")}
    kind = {name: value for name, value in told.items() if name not in notes}
    return {"anyOf": [kind, _NULL], **notes}


def _size(width: int, height: int) -> Json:
    """One of the nine sizes. A side that is missing or null is 1024."""
    sides = {"width": width, "height": height}
    given = [name for name, side in sides.items() if side != 1024]
    allowed = {n: {"enum": [side] if n in given else [side, None]} for n, side in sides.items()}
    return {"properties": allowed} | ({"required": given} if given else {})


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": _REF.format(model=_name(model))}


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def main(folder: Path) -> None:
    """Write both files."""
    told = document()
    (folder / "openapi.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "docs.html").write_text(page(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
