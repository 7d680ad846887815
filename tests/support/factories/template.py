"""The templates as written, and template.yaml as SAM translates it for CloudFormation."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.intrinsics.actions import FindInMapAction
from samtranslator.intrinsics.resolver import IntrinsicsResolver

from tools.translation import default_values, packaged, read_template, translate

ROOT = Path(__file__).parents[3]
NO_VALUE = {"Ref": "AWS::NoValue"}
Resources = dict[str, dict[str, Any]]


@cache
def source(name: str = "template.yaml") -> dict[str, Any]:
    """Read a template as written, with intrinsics in their long form."""
    return read_template(ROOT / name)


@cache
def translated(**changed: str) -> Resources:
    """Translate the template for CloudFormation, with its references to parameters.

    SAM gets the values of the parameters beside it; `changed` has other values than the defaults.
    """
    values = default_values(source()) | changed
    resources: Resources = translate(packaged(source()), values)["Resources"]
    return resources


def published(*, code: str = "key", **changed: str) -> Resources:
    """Translate the template as AWS does, with the values of its parameters written into it first.

    AWS::LanguageExtensions does that before SAM, which decides by it whether a function is new.
    `code` stands for what was built, and `changed` has other values than the defaults.
    """
    template, values = packaged(source(), code), default_values(source()) | changed
    literal = IntrinsicsResolver(values).resolve_parameter_refs(template)
    find_in_map = {FindInMapAction.intrinsic_name: FindInMapAction()}
    mapped = IntrinsicsResolver(template["Mappings"], find_in_map).resolve_parameter_refs(literal)
    resources: Resources = translate(mapped, values)["Resources"]
    return resources


def of_type(resources: Resources, kind: str) -> Resources:
    return {name: r for name, r in resources.items() if r["Type"] == kind}


def functions() -> Resources:
    return of_type(source()["Resources"], "AWS::Serverless::Function")


def api_body() -> dict[str, Any]:
    [api] = of_type(translated(), "AWS::ApiGateway::RestApi").values()
    body: dict[str, Any] = api["Properties"]["Body"]
    return body


def resolved(value: Any, holding: set[str]) -> Any:
    """`value` with the branches that CloudFormation takes when just these conditions hold."""
    match value:
        case {"Fn::If": [condition, then, otherwise]}:
            return resolved(then if condition in holding else otherwise, holding)
        case dict():
            taken = {key: resolved(item, holding) for key, item in value.items()}
            return {key: item for key, item in taken.items() if item != NO_VALUE}
        case list():
            items = [resolved(item, holding) for item in value]
            return [item for item in items if item != NO_VALUE]
    return value


def references(value: Any) -> Iterator[str]:
    """Yield the logical ids and parameters that `value` refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item
            elif key == "Fn::GetAtt":
                yield (item if isinstance(item, list) else item.split("."))[0]
            elif key == "Fn::Sub":
                text = item[0] if isinstance(item, list) else item
                yield from re.findall(r"\$\{([A-Za-z0-9]+)", text)
            yield from references(item)
