"""The schemas of the document: pydantic's, and what is checked before or beside the models."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sd3.domain.request import (
    MAX_FIELDS,
    OCTOAI_OPTIONAL,
    OTHER_MODELS_FIELDS,
    OTHER_MODELS_PREFIXES,
    SIZES,
    GenerateRequest,
)
from sd3.responses.models import ErrorBody
from tools.openapi.routes import OPERATIONS

Json = dict[str, Any]

NULL: Final = {"type": "null"}
REF: Final = "#/components/schemas/{model}"


def schemas() -> Json:
    """Every model by its name, and what it refers to."""
    bodies = {operation.body for operation in OPERATIONS if operation.body}
    queries = {operation.query for operation in OPERATIONS if operation.query}
    answers = {model for each in OPERATIONS for answer in each.answers for model in answer.models}
    # An answer always has all fields; errors leave out those that are null.
    taken = [*sorted(bodies | queries | {ErrorBody}, key=_name)]
    _, told = models_json_schema(
        [(model, "validation") for model in taken]
        + [(model, "serialization") for model in sorted(answers, key=_name)],
        ref_template=REF,
    )
    found: Json = told["$defs"]
    for query in queries:
        del found[_name(query)]
    found[_name(GenerateRequest)] = _as_accepted(found[_name(GenerateRequest)])
    return found


def _as_accepted(schema: Mapping[str, Any]) -> Json:
    """The request's schema with what is accepted beyond its model, and refused between fields."""
    fields: Json = {}
    for name, told in schema["properties"].items():
        fields[name] = _nullable(told) if name in OCTOAI_OPTIONAL else told
    for name in sorted(OTHER_MODELS_FIELDS):
        fields[name] = NULL | {"description": "Of OctoAI's other models: null only."}
    prefixes = "|".join(map(re.escape, OTHER_MODELS_PREFIXES))
    both = {"init_image": {"type": "string"}, "init_image_id": {"type": "string"}}
    return {
        **schema,
        "properties": fields,
        "patternProperties": {f"^({prefixes})": NULL},
        "maxProperties": MAX_FIELDS,
        "anyOf": [_size(width, height) for width, height in SIZES],
        "not": {"properties": both, "required": [*both]},
    }


def _nullable(told: Mapping[str, Any]) -> Json:
    """A field that takes null, for its default."""
    if NULL in told.get("anyOf", ()):
        return dict(told)
    notes = {name: told[name] for name in ("default", "description", "title")}
    kind = {name: value for name, value in told.items() if name not in notes}
    return {"anyOf": [kind, NULL], **notes}


def _size(width: int, height: int) -> Json:
    """One of the nine sizes. A side that is missing or null is 1024."""
    sides = {"width": width, "height": height}
    given = [name for name, side in sides.items() if side != 1024]
    allowed = {n: {"enum": [side] if n in given else [side, None]} for n, side in sides.items()}
    return {"properties": allowed} | ({"required": given} if given else {})


def ref(model: type[BaseModel]) -> Json:
    return {"$ref": REF.format(model=_name(model))}


def _name(model: type[BaseModel]) -> str:
    return model.__name__
