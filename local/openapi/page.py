"""The OpenAPI document as one page to be read: no script, nothing from another host."""

from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any, Final

_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
code { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #ccc; padding: .3em 1em .3em 0; vertical-align: top; }
h2 { margin-top: 2.5em; }
</style>
<h1>$title $version</h1>
<p>$description</p>
<p><a href="openapi.json">openapi.json</a></p>
<h2>Operations</h2>
$operations
<h2>Errors</h2>
$errors
<h2>Schemas</h2>
$schemas
</html>
""")


def page(document: Mapping[str, Any]) -> str:
    """The document as HTML."""
    components = document["components"]
    operations = (
        _operation(method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    errors = (
        (name.replace("_or_", " or "), response["description"])
        for name, response in components["responses"].items()
    )
    schemas = (_schema(name, schema) for name, schema in components["schemas"].items())
    return _PAGE.substitute(
        title=escape(document["info"]["title"]),
        version=escape(document["info"]["version"]),
        description=_prose(document["info"]["description"]),
        operations="\n".join(operations),
        errors=_table(errors),
        schemas="\n".join(schemas),
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    access = "Open" if operation.get("security") == [] else "Takes a token"
    head = f"<code>{method.upper()} {escape(path)}</code>"
    inputs = [
        (f"{told['name']} ({told['in']})", f"{_kind(told['schema'])}. {told['description']}")
        for told in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {})
    inputs += [(f"body: {media}", _kind(told["schema"])) for media, told in body.items()]
    answers = [(status, _answer(told)) for status, told in operation["responses"].items()]
    text = f"{operation['summary']}. {access}. {operation.get('description', '')}".strip()
    return "\n".join(
        (
            f'<h3 id="{operation["operationId"]}">{head}</h3>',
            f"<p>{_prose(text)}</p>",
            _table((*inputs, *answers)),
        )
    )


def _answer(told: Mapping[str, Any]) -> str:
    if "$ref" in told:
        return str(told["$ref"]).rpartition("/")[2].replace("_or_", " or ")
    kinds = [_kind(content["schema"]) for content in told.get("content", {}).values()]
    return " ".join((told["description"], *kinds, *_named_headers(told)))


def _named_headers(told: Mapping[str, Any]) -> Iterable[str]:
    names = ", ".join(told.get("headers", ()))
    return [f"({names})"] if names else []


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = (
        (field if field in schema.get("required", ()) else f"{field} (optional)", _field(told))
        for field, told in schema.get("properties", {}).items()
    )
    text = schema.get("description", "")
    head = f'<h3 id="{name}"><code>{name}</code></h3>\n<p>{_prose(text)}</p>'
    return f"{head}\n{_table(rows) if 'properties' in schema else escape(_kind(schema))}"


def _field(told: Mapping[str, Any]) -> str:
    default = f"; {told['default']} if not given" if told.get("default") is not None else ""
    return f"{_kind(told)}{default}. {told.get('description', '')}".strip()


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(map(_kind, schema[several]))
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    items = f" of {_kind(schema['items'])}" if "items" in schema else ""
    return f"{schema.get('type', 'anything')}{items}{_bounds(schema)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {
        "minimum": "from", "exclusiveMinimum": "more than", "maximum": "up to",
        "minLength": "at least", "maxLength": "at most", "maxItems": "at most",
        "maxProperties": "at most", "pattern": "like", "format": "as",
    }  # fmt: skip
    return "".join(f" {word} {schema[name]}" for name, word in words.items() if name in schema)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><td><code>{escape(a)}</code><td>{_prose(b)}" for a, b in rows)
    return "\n".join(("<table>", *lines, "</table>"))


def _prose(text: str) -> str:
    """Text with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
