"""The schemas of the document: pydantic's, and the checks that are made outside the models."""

import re
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sd3.domain.request import MAX_FIELDS, OCTOAI_OPTIONAL, GenerateRequest
from sd3.domain.request_checks import (
    INIT_IMAGES,
    LOST,
    OTHER_MODELS_FIELDS,
    OTHER_MODELS_PREFIXES,
    SIZES,
    VISIBLE,
)
from sd3.responses.models import ErrorBody
from sd3.responses.webhooks import WebhookMessage
from tools.openapi.routes import OPERATIONS

Json = dict[str, Any]

NULL: Final = {"type": "null"}
REF: Final = "#/components/schemas/{model}"


def schemas() -> Json:
    """Make the schemas of all models, and of the models that they refer to, by name."""
    bodies = {operation.body for operation in OPERATIONS if operation.body}
    queries = {operation.query for operation in OPERATIONS if operation.query}
    returned = {model for op in OPERATIONS for each in op.responses for model in each.models}
    others = {op.other_errors[0] for op in OPERATIONS if op.other_errors}
    returned.add(WebhookMessage)
    # A response always has all fields; errors leave out those that are null.
    accepted = [*sorted(bodies | queries | others | {ErrorBody}, key=_name)]
    _, generated = models_json_schema(
        [(model, "validation") for model in accepted]
        + [(model, "serialization") for model in sorted(returned, key=_name)],
        ref_template=REF,
    )
    found: Json = generated["$defs"]
    for query in queries:
        del found[_name(query)]
    found[_name(GenerateRequest)] = _as_accepted(found[_name(GenerateRequest)])
    return found


def _as_accepted(schema: Mapping[str, Any]) -> Json:
    """Add what is accepted beyond the model, and what is invalid in combination."""
    fields: Json = {}
    for name, field in schema["properties"].items():
        fields[name] = _nullable(field) if name in OCTOAI_OPTIONAL else field
    whole = {"pattern": f"^[^{LOST}]*$"}
    fields["prompt"] |= {"allOf": [whole, {"pattern": VISIBLE}]}
    fields["negative_prompt"] |= {"allOf": [whole]}
    for name in sorted(OTHER_MODELS_FIELDS):
        fields[name] = NULL | {"description": "Of OctoAI's other models: null only."}
    prefixes = "|".join(map(re.escape, OTHER_MODELS_PREFIXES))
    pairs: list[Json] = [
        {name: {"type": "string"} for name in pair} for pair in combinations(INIT_IMAGES, 2)
    ]
    pairs.append({"webhook": {"type": "object"}, "dry_run": {"const": True}})
    return {
        **schema,
        "properties": fields,
        "patternProperties": {f"^({prefixes})": NULL},
        "maxProperties": MAX_FIELDS,
        "anyOf": [_size(width, height) for width, height in SIZES],
        "not": {"anyOf": [{"properties": pair, "required": [*pair]} for pair in pairs]},
    }


def _nullable(field: Mapping[str, Any]) -> Json:
    """Make a field accept null, which stands for its default."""
    if NULL in field.get("anyOf", ()):
        return dict(field)
    notes = {name: field[name] for name in ("default", "description", "title")}
    kind = {name: value for name, value in field.items() if name not in notes}
    return {"anyOf": [kind, NULL], **notes}


def _size(width: int, height: int) -> Json:
    """Make the schema of one of the nine sizes. A side that is missing or null is 1024."""
    sides = {"width": width, "height": height}
    given = [name for name, side in sides.items() if side != 1024]
    allowed = {n: {"enum": [side] if n in given else [side, None]} for n, side in sides.items()}
    return {"properties": allowed} | ({"required": given} if given else {})


def ref(model: type[BaseModel]) -> Json:
    return {"$ref": REF.format(model=_name(model))}


def _name(model: type[BaseModel]) -> str:
    return model.__name__
