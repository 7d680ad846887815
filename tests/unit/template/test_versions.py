"""The aliases that all functions are called by, and when a new version is published and kept."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest

from tests.support.factories.conditions import conditions
from tests.support.factories.template import (
    Resources,
    api_body,
    functions,
    of_type,
    published,
    references,
    resolved,
    source,
    translated,
)

UNVERSIONED: Final = {"ReservedConcurrentExecutions", "Tags"}
"""What a function has and its versions have not. SAM publishes a version for a change of it too,
and Lambda refuses one in which nothing else is new: "A version for this Lambda function exists"."""

SNAPSHOTS: Final = {"AuthorizerFunction", "GenerateFunction", "JobsFunction", "McpFunction"}
OF_THE_API: Final = SNAPSHOTS | {"WebhooksFunction", "BatchesFunction"}
ALIASES: Final = {f"{name}Aliaslive" for name in functions()}


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
    aliased = [translated()[name]["Properties"] for name in functions()]
    return set(references(aliased)) & set(source()["Parameters"])


def test_the_gateway_calls_functions_by_their_aliases() -> None:
    called = [uri["Fn::Sub"] for uri in uris(api_body())]
    named = {name for text, *variables in map(listed, called) for name in within(text, variables)}
    assert named == {f"{name}Aliaslive" for name in OF_THE_API}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def within(text: str, variables: list[Any]) -> set[str]:
    """Return the resources in an Fn::Sub's text and variables, without the variables."""
    own = {name for each in variables for name in each}
    found = set(references([{"Fn::Sub": text}, *variables])) - own
    return {name for name in found if name in translated()}


def test_whatever_calls_a_function_calls_its_alias() -> None:
    callers = {
        "AWS::Lambda::Permission": "FunctionName",
        "AWS::Lambda::EventSourceMapping": "FunctionName",
        "AWS::Events::Rule": "Targets",
    }
    called = {
        kind: set(
            references([each["Properties"][key] for each in of_type(translated(), kind).values()])
        )
        for kind, key in callers.items()
    }
    assert called["AWS::Lambda::Permission"] | called["AWS::Lambda::EventSourceMapping"] == ALIASES
    assert called["AWS::Events::Rule"] == {"InboxFunctionAliaslive", "UnprocessableQueue"}


def test_the_alias_of_the_inbox_gives_up_to_the_queue() -> None:
    [config] = of_type(translated(), "AWS::Lambda::EventInvokeConfig").values()
    [alias] = [translated()[name] for name in config["DependsOn"]]
    assert config["Properties"]["Qualifier"] == alias["Properties"]["Name"]


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
    assert snapshots == {name: {"ApplyOn": applied_on} for name in SNAPSHOTS}


def test_snapshots_cost_nothing_unless_they_are_wanted() -> None:
    assert source()["Parameters"]["SnapStart"]["Default"] == "Off"


@pytest.mark.parametrize(("value", "deleted"), [("On", SNAPSHOTS), ("Off", set())])
def test_a_replaced_version_is_kept_to_go_back_to_unless_its_snapshot_costs(
    value: str, deleted: set[str]
) -> None:
    found = of_type(published(SnapStart=value), "AWS::Lambda::Version").values()
    policies = {v["Properties"]["FunctionName"]["Ref"]: v["DeletionPolicy"] for v in found}
    assert policies == {n: "Delete" if n in deleted else "Retain" for n in functions()}


def test_without_a_canary_there_is_nothing_of_codedeploy() -> None:
    assert source()["Parameters"]["CanaryMinutes"]["Default"] == "0"
    assert not [r for r in translated().values() if "AWS::CodeDeploy" in r["Type"]]
    assert not [r for r in translated().values() if "UpdatePolicy" in r]
    assert translated()["CanaryRole"]["Condition"] == "HasCanary"
    assert "HasCanary" not in conditions()


@pytest.mark.parametrize("minutes", source()["Parameters"]["CanaryMinutes"]["AllowedValues"][1:])
def test_a_canary_takes_every_function_back_when_an_alarm_rings(minutes: str) -> None:
    resources = translated(CanaryMinutes=minutes)
    assert "HasCanary" in conditions(CanaryMinutes=minutes)
    alarms = source("monitoring.yaml")["Outputs"]
    for alias in ALIASES:
        update = resources[alias]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        group = resources[update["DeploymentGroupName"]["Ref"]]["Properties"]
        [_, named] = group["DeploymentConfigName"]["Fn::Sub"]
        assert named == {"ConfigName": f"Canary10Percent{minutes}Minutes"}
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        assert "CodeDeployServiceRole" not in resources  # SAM's own, without a boundary
        role = resolved(group["ServiceRoleArn"], {"HasCanary"})
        assert role == {"Fn::GetAtt": ["CanaryRole", "Arn"]}
        assert group["AlarmConfiguration"]["Alarms"] == [
            {"Name": {"Fn::GetAtt": ["Monitoring", f"Outputs.{name}"]}} for name in alarms
        ]


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
        for function in functions()
        if name in references(translated()[function]["Properties"])
    }
    assert changed == users


def contents(resources: Resources) -> dict[str, Any]:
    """Return what a version of each function would hold, by the function's alias."""
    made = of_type(resources, "AWS::Lambda::Function")
    return {
        f"{name}Aliaslive": {
            key: value for key, value in each["Properties"].items() if key not in UNVERSIONED
        }
        for name, each in made.items()
    }


@pytest.mark.parametrize("name", sorted({*used_parameters(), "SnapStart"}))
def test_lambda_finds_something_new_in_every_version_that_is_published(name: str) -> None:
    value = "On" if name == "SnapStart" else "other"
    other = published(**{name: value})
    before, after = versions_of_today(), versions(other)
    held, holds = contents(published()), contents(other)
    new = [alias for alias in before if before[alias] != after[alias]]
    assert new
    assert [alias for alias in new if held[alias] == holds[alias]] == []


def test_snapstart_publishes_new_versions() -> None:
    before, after = versions(published(SnapStart="Off")), versions(published(SnapStart="On"))
    changed = {alias for alias in ALIASES if before[alias] != after[alias]}
    assert changed == {f"{name}Aliaslive" for name in SNAPSHOTS}


def test_tracing_publishes_new_versions() -> None:
    before, after = versions(published(Tracing="Disabled")), versions(published(Tracing="Active"))
    assert all(before[alias] != after[alias] for alias in ALIASES)


def test_new_code_publishes_new_versions() -> None:
    before, after = versions(published()), versions(published(code="other"))
    assert all(before[alias] != after[alias] for alias in ALIASES)


def test_nothing_new_publishes_nothing() -> None:
    assert versions(published()) == versions(published())
