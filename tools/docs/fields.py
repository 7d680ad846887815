"""The table of the fields of a request in openapi.json."""

import json
from collections.abc import Mapping
from typing import Any, Final

from tools.docs.markdown import code, table

Json = Mapping[str, Any]

_BOUNDS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minLength": "length at least {}",
    "maxLength": "length at most {}",
    "maxItems": "at most {} entries",
    "maxProperties": "at most {} pairs",
}


def fields_table(document: Json, model: str = "GenerateRequest") -> str:
    """Make the table of a model's fields; a field that accepts only null is left out."""
    schema = document["components"]["schemas"][model]
    rows = [
        [code(name), values, _default(name, field, schema), field.get("description", "")]
        for name, field in schema["properties"].items()
        if (values := "; or ".join(kind for kind in _kinds(field) if kind != "null"))
    ]
    return table(["field", "value", "default", "meaning"], rows)


def _default(name: str, field: Json, schema: Json) -> str:
    if name in schema.get("required", ()):
        return "required"
    if "default" not in field:
        return ""
    default = field["default"]
    return code(default if isinstance(default, str) else json.dumps(default))


def _kinds(schema: Json) -> list[str]:
    """Describe each kind of value that a schema accepts."""
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return [kind for one in schema[several] for kind in _kinds(one)]
    return [_kind(schema)]


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    bounds = [words.format(schema[name]) for name, words in _BOUNDS.items() if name in schema]
    if "pattern" in schema:
        bounds.append(f"like {code(schema['pattern'])}")
    if "items" in schema:
        bounds.append(f"each {' or '.join(_kinds(schema['items']))}")
    return ", ".join([schema["type"], *bounds])
