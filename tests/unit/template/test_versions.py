"""The functions that the gateway calls by an alias, and when a new version of them is published."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest

from tests.support.factories.template import (
    Resources,
    api_body,
    of_type,
    published,
    references,
    source,
    translated,
)

CALLED: Final = {"AuthorizerFunction", "GenerateFunction", "JobsFunction"}
ALIASES: Final = {f"{name}Aliaslive" for name in CALLED}


def uris(value: Any) -> Iterator[Any]:
    """Return what the gateway calls, for routes and for tokens."""
    if isinstance(value, dict):
        yield from (value[key] for key in ("uri", "authorizerUri") if key in value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from uris(item)


def versions(resources: Resources) -> dict[str, str]:
    """Return the logical id of each alias's version. A new id is a new version."""
    found = {}
    for name, alias in of_type(resources, "AWS::Lambda::Alias").items():
        [version] = set(references(alias["Properties"]["FunctionVersion"]))
        found[name] = version
    return found


def used_parameters() -> set[str]:
    """Return the parameters that reach the functions themselves, and not only their roles."""
    aliased = [translated()[name]["Properties"] for name in CALLED]
    return set(references(aliased)) & set(source()["Parameters"])


def test_the_gateway_calls_functions_by_their_aliases() -> None:
    called = [uri["Fn::Sub"] for uri in uris(api_body())]
    named = {name for text, *variables in map(listed, called) for name in within(text, variables)}
    assert named == ALIASES


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def within(text: str, variables: list[Any]) -> set[str]:
    """Return the resources in an Fn::Sub's text and variables, without the variables."""
    own = {name for each in variables for name in each}
    found = set(references([{"Fn::Sub": text}, *variables])) - own
    return {name for name in found if name in translated()}


def test_the_gateway_may_call_the_aliases_and_nothing_else() -> None:
    permissions = of_type(translated(), "AWS::Lambda::Permission").values()
    allowed = {
        name
        for permission in permissions
        if permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
        for name in references(permission["Properties"]["FunctionName"])
    }
    assert allowed == ALIASES


@pytest.mark.parametrize(("value", "applied_on"), [("On", "PublishedVersions"), ("Off", "None")])
def test_snapshots_are_taken_of_the_functions_of_the_api_if_wanted(
    value: str, applied_on: str
) -> None:
    functions = of_type(published(SnapStart=value), "AWS::Lambda::Function")
    snapshots = {
        name: function["Properties"]["SnapStart"]
        for name, function in functions.items()
        if "SnapStart" in function["Properties"]
    }
    assert snapshots == {name: {"ApplyOn": applied_on} for name in CALLED}


def test_snapshots_cost_nothing_unless_they_are_wanted() -> None:
    assert source()["Parameters"]["SnapStart"]["Default"] == "Off"


def test_versions_that_are_replaced_are_deleted() -> None:
    """Every version that exists has a snapshot, which AWS charges for."""
    found = of_type(translated(), "AWS::Lambda::Version").values()
    assert len(found) == len(CALLED)
    assert {version["DeletionPolicy"] for version in found} == {"Delete"}


def test_parameters_are_written_into_the_template_before_sam_reads_it() -> None:
    """What `published` does here, this transform does on AWS."""
    transforms = source()["Transform"]
    assert transforms == ["AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"]


@cache
def versions_of_today() -> dict[str, str]:
    return versions(published())


@pytest.mark.parametrize("name", sorted(used_parameters()))
def test_another_value_of_a_parameter_publishes_new_versions(name: str) -> None:
    before, after = versions_of_today(), versions(published(**{name: "other"}))
    changed = {alias for alias in before if before[alias] != after[alias]}
    users = {
        f"{function}Aliaslive"
        for function in CALLED
        if name in references(translated()[function]["Properties"])
    }
    assert changed == users


def test_snapstart_publishes_new_versions() -> None:
    before, after = versions(published(SnapStart="Off")), versions(published(SnapStart="On"))
    assert all(before[alias] != after[alias] for alias in ALIASES)


def test_tracing_publishes_new_versions() -> None:
    before, after = versions(published(Tracing="Disabled")), versions(published(Tracing="Active"))
    assert all(before[alias] != after[alias] for alias in ALIASES)


def test_new_code_publishes_new_versions() -> None:
    before, after = versions(published()), versions(published(code="other"))
    assert all(before[alias] != after[alias] for alias in ALIASES)


def test_nothing_new_publishes_nothing() -> None:
    assert versions(published()) == versions(published())
