"""What must hold for template.yaml, whichever resources it comes to have, as SAM translates it."""

import re
from collections.abc import Iterator
from dataclasses import fields
from graphlib import TopologicalSorter
from typing import Any

import pytest

from sd3.settings import Settings
from sd3.upstreams import UPSTREAMS
from sd3.upstreams.stability import PRICES
from tests.support.factories.template import (
    ROOT,
    Resources,
    functions,
    of_type,
    references,
    source,
    translated,
)

NOT_OURS = {
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_LOG_LEVEL",
    "LOG_LEVEL",
    "MALLOC_MMAP_THRESHOLD_",
}
"""Variables that libraries read."""

OF_ONE_OWNER = re.compile(r"(\$\{\w+\.Arn\}|arn:\$\{AWS::Partition\}:s3:::[^*/]+)/.+")
"""Objects of one bucket, streams of one table: only their names may have a wildcard."""


OF_NO_RESOURCE = {"dynamodb:ListStreams"}
"""Actions that AWS allows on all resources or on none."""


def cycle_free(resources: Resources) -> list[str]:
    """Return the resources in an order of creation; raises CycleError when there is none."""
    graph = {}
    for name, resource in resources.items():
        after = resource.get("DependsOn", [])
        explicit = {after} if isinstance(after, str) else set(after)
        parts = [resource.get(name, {}) for name in ("Properties", "UpdatePolicy", "Metadata")]
        graph[name] = (explicit | set(references(parts))) & set(resources)
    return list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("minutes", ["0", "5"])
def test_the_resources_can_be_created_in_some_order(minutes: str) -> None:
    resources = translated(CanaryMinutes=minutes)
    assert len(cycle_free(resources)) == len(resources) > len(source()["Resources"])


def test_a_cycle_would_be_found() -> None:
    bucket = {"Properties": {"To": {"Fn::GetAtt": ["Function", "Arn"]}}}
    function = {"Properties": {"Name": {"Fn::Sub": "${Bucket}-x"}}}
    with pytest.raises(ValueError, match="cycle"):
        cycle_free({"Bucket": bucket, "Function": function})


def test_every_function_folder_is_deployed() -> None:
    folders = {f"functions/{app.parent.name}" for app in ROOT.glob("functions/*/app.py")}
    assert {f["Properties"]["CodeUri"] for f in functions().values()} == folders


def test_every_environment_name_is_known() -> None:
    known = {field.name.upper() for field in fields(Settings)} | NOT_OURS
    for function in of_type(translated(), "AWS::Lambda::Function").values():
        assert set(function["Properties"]["Environment"]["Variables"]) <= known


def test_every_function_but_the_authorizer_can_write_metrics() -> None:
    for name, function in of_type(translated(), "AWS::Lambda::Function").items():
        variables = function["Properties"]["Environment"]["Variables"]
        if name != "AuthorizerFunction":
            assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "sd3"


def too_wide(statement: dict[str, Any]) -> bool:
    """Return whether an Allow names all actions of a service, or no particular resource."""
    if statement["Effect"] != "Allow" or "sts:AssumeRole" in str(statement["Action"]):
        return False
    actions, resources = (
        value if isinstance(value, list) else [value]
        for value in (statement["Action"], statement["Resource"])
    )
    literal = [str(r.get("Fn::Sub", "") if isinstance(r, dict) else r) for r in resources]
    if set(actions) <= OF_NO_RESOURCE:
        return False
    return any("*" in action for action in actions) or any(
        "*" in text and not OF_ONE_OWNER.fullmatch(text) for text in literal
    )


def statements() -> Iterator[dict[str, Any]]:
    def within(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value:
                yield value
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from within(item)

    yield from within(translated())


def test_no_policy_allows_more_than_it_names() -> None:
    allowed = [s for s in statements() if s["Effect"] == "Allow"]
    assert len(allowed) > len(functions())
    assert not [s for s in allowed if too_wide(s)]


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:*", "arn:x"),
        ("s3:GetObject", "*"),
        (["s3:Get*"], ["arn:x"]),
        ("a:b", "arn:aws:s3:::*"),
        ("a:b", {"Fn::Sub": "arn:aws:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"}),
    ],
)
def test_a_wide_policy_would_be_found(action: Any, resource: Any) -> None:
    assert too_wide({"Effect": "Allow", "Action": action, "Resource": resource})


def test_no_managed_policy_is_attached_beyond_logging() -> None:
    attached = {
        str(arn.get("Fn::Sub") if isinstance(arn, dict) else arn).rpartition("/")[2]
        for role in of_type(translated(), "AWS::IAM::Role").values()
        for arn in role["Properties"].get("ManagedPolicyArns", [])
    }
    of_vpcs = {"AWSLambdaVPCAccessExecutionRole"}  # see test_network.py
    logging = {"AWSLambdaBasicExecutionRole", "AmazonAPIGatewayPushToCloudWatchLogs"}
    canary = {"AWSCodeDeployRoleForLambdaLimited"}
    assert attached == logging | of_vpcs | canary


def test_generate_outlives_the_gateway() -> None:
    generate = functions()["GenerateFunction"]["Properties"]
    assert generate["Timeout"] > 29


def test_only_the_authorizer_has_the_issuers_settings() -> None:
    knowing = {
        name
        for name, function in of_type(translated(), "AWS::Lambda::Function").items()
        if "JWT_ISSUER" in function["Properties"]["Environment"]["Variables"]
    }
    assert knowing == {"AuthorizerFunction"}


def test_the_upstreams_that_may_be_chosen_are_those_that_there_are() -> None:
    pattern = source()["Parameters"]["Upstream"]["AllowedPattern"]
    for order in (*UPSTREAMS, ",".join(UPSTREAMS)):
        assert re.fullmatch(pattern, order)
    assert set(re.findall("[a-z]+", pattern)) == set(UPSTREAMS)
    for wrong in ("", "dalle", "octoai,", ",octoai", "octoai, bedrock"):
        assert not re.fullmatch(pattern, wrong)


def test_stabilitys_models_are_those_with_a_price() -> None:
    assert set(source()["Parameters"]["StabilityModel"]["AllowedValues"]) == set(PRICES)
