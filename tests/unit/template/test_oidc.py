"""deploy/oidc.yaml: who may deploy, and that what is deployed cannot get more than the boundary."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest

from tests.support.factories.template import of_type, resolved, source, translated
from tests.support.privileges import LOGS

OIDC: Final = "deploy/oidc.yaml"
ROLE_BYTES: Final = 10_240
"""The most of a role's own policies together. Spaces do not count."""
POLICY_BYTES: Final = 6_144
"""The most of a managed policy."""
LONGEST: Final = {
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-southeast-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "StackName": "s" * 24,
    "HostedZoneId": "Z" * 21,
    "ArtifactsBucket.Arn": "arn:aws:s3:::" + "b" * 63,
}


def statements(role: str) -> list[dict[str, Any]]:
    properties = resolved(source(OIDC)["Resources"], {"HasHostedZone"})[role]["Properties"]
    policies = properties.get("Policies", [properties])
    return [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]


def actions(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return action if isinstance(action, list) else [action]


def allowed(role: str) -> set[str]:
    return {action for each in statements(role) for action in actions(each)}


def test_only_the_environment_of_the_repository_may_deploy() -> None:
    role = source(OIDC)["Resources"]["DeployerRole"]["Properties"]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {
                "Fn::Sub": "repo:${Repository}:environment:${Environment}"
            },
        }
    }


def test_the_boundary_leaves_every_role_what_the_template_gives_it() -> None:
    """All branches of the template count: what an option adds is within the boundary too."""
    roles = of_type(translated(), "AWS::IAM::Role").values()
    given = set(granted([role["Properties"].get("Policies", []) for role in roles]))
    assert given >= {"dynamodb:PutItem", "kms:GenerateDataKey", "bedrock:InvokeModel"}
    assert given | LOGS["FunctionsLogGroup"] <= allowed("Boundary")


def granted(value: Any) -> Iterator[str]:
    """Yield the actions of all statements in `value` that allow something."""
    if isinstance(value, dict) and value.get("Effect") == "Allow":
        yield from actions(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from granted(item)


def test_cloudformation_may_make_every_kind_of_resource() -> None:
    kinds = {
        resource["Type"]
        for resources in (translated(), source("monitoring.yaml")["Resources"])
        for resource in resources.values()
    }
    services = {action.split(":")[0] for action in allowed("ExecutionRole")}
    assert {kind.split("::")[1].lower() for kind in kinds} <= services


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("lambda:TagResource", "lambda:ap-southeast-1:123456789012:event-source-mapping:1-2"),
        ("lambda:UntagResource", "lambda:ap-southeast-1:123456789012:event-source-mapping:1-2"),
        (
            "iam:CreateServiceLinkedRole",
            "iam::123456789012:role/aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRole",
        ),
    ],
)
def test_cloudformation_may_do_what_aws_asks_beside_the_resources_own_actions(
    action: str, resource: str
) -> None:
    """A mapping is tagged when it is made, and a first domain name makes API Gateway's role."""
    arn = f"arn:{LONGEST['AWS::Partition']}:{resource}"
    assert [
        each
        for each in statements("ExecutionRole")
        if any(fnmatchcase(action, pattern) for pattern in actions(each))
        and any(fnmatchcase(arn, pattern) for pattern in resources(each))
        and "Condition" not in each
    ]


def test_cloudformation_may_encrypt_the_secret_with_another_key() -> None:
    """Without kms:Encrypt, Secrets Manager leaves it encrypted with the key before."""
    assert {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"} <= allowed("ExecutionRole")


def resources(statement: dict[str, Any]) -> list[str]:
    resource = written(statement["Resource"])
    return resource if isinstance(resource, list) else [resource]


def test_no_name_is_cut_that_the_roles_know_by_its_beginning() -> None:
    """CloudFormation puts up to 13 characters at the end, and cuts the stack's name if need be."""
    pattern = source(OIDC)["Parameters"]["StackName"]["AllowedPattern"]
    longest = "s" * len(LONGEST["StackName"])
    assert re.fullmatch(pattern, longest)
    assert not re.fullmatch(pattern, longest + "s")
    limits = {
        "AWS::Events::Rule": 64,
        "AWS::IAM::Role": 64,
        "AWS::Lambda::Function": 64,
        "AWS::S3::Bucket": 63,
        "AWS::SQS::Queue": 80,
    }
    for kind, most in limits.items():
        for name in of_type(translated(), kind):
            assert len(f"{longest}-{name}-") + 13 <= most, name


@pytest.mark.parametrize("action", ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"])
def test_a_role_can_be_made_and_changed_only_within_the_boundary(action: str) -> None:
    [bounded] = (
        each
        for each in statements("ExecutionRole")
        if any(fnmatchcase(action, pattern) for pattern in actions(each))
    )
    assert bounded["Condition"] == {
        "StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}
    }


def test_nobody_can_remove_the_boundary() -> None:
    for role in ("DeployerRole", "ExecutionRole"):
        for pattern in allowed(role):
            assert not fnmatchcase("iam:DeleteRolePermissionsBoundary", pattern)
            assert not fnmatchcase("iam:CreatePolicyVersion", pattern)


def test_policies_are_not_longer_than_iam_takes() -> None:
    for role in of_type(source(OIDC)["Resources"], "AWS::IAM::Role"):
        assert sum(length({"Statement": [each]}) for each in statements(role)) < ROLE_BYTES
    assert length({"Statement": statements("Boundary")}) < POLICY_BYTES


def length(document: Any) -> int:
    """Count the characters of a policy whose names are as long as they can be."""
    return len(json.dumps(written(document), separators=(",", ":")))


def written(value: Any) -> Any:
    match value:
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([A-Za-z:.]+)\}", lambda name: LONGEST[name[1]], text)
        case {"Ref": _} | {"Fn::GetAtt": _}:
            return "arn:aws:iam::123456789012:policy/" + "x" * 64
        case dict():
            return {key: written(item) for key, item in value.items()}
        case list():
            return [written(item) for item in value]
    return value
