"""tools.types: what TypeScript can say of the document, and nothing that it would say wrongly."""

from typing import Any

import pytest

from tools.types import for_types

TEXT: dict[str, Any] = {"type": "string"}


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        # Which sides go together would be a union that every object fits.
        ({"properties": {"a": TEXT}, "anyOf": [{"properties": {}}], "not": {}}, {"a"}),
        # A prefix that must be null would make every other field null.
        ({"properties": {"a": TEXT}, "patternProperties": {"^b": {"type": "null"}}}, {"a"}),
        ({"properties": {"a": TEXT, "loras": {"type": "null"}}}, {"a"}),
    ],
)
def test_rules_for_validators_are_left_out(written: dict[str, Any], typed: set[str]) -> None:
    kept = for_types(written)
    assert kept.keys() == {"properties", "required"}
    assert kept["properties"].keys() == typed


def test_what_has_two_types_keeps_them_without_more_patterns() -> None:
    either = {"anyOf": [TEXT, {"type": "null"}]}
    assert for_types({**either, "title": "A", "allOf": [{"pattern": "x"}]}) == either


def test_a_constant_is_required_since_it_tells_schemas_apart() -> None:
    fields = {"dry_run": {"const": True, "default": True}, "upstream": TEXT, "left": TEXT}
    assert for_types({"properties": fields, "required": ["upstream"]})["required"] == [
        "dry_run",
        "upstream",
    ]
