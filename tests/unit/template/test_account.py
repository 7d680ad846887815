"""What an account can set by parameters: what they take, what is refused, and the defaults."""

import re

import pytest

from tests.support.factories.conditions import broken_rules, conditions
from tests.support.factories.template import (
    of_type,
    resolved,
    source,
    translated,
)

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1a2b3c4d-0000-1111-2222-333344445555"
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:sd3-upstream-AbC123"
MODEL = "arn:aws:bedrock:us-west-2::foundation-model/stability.sd3-5-large-v1:0"
PROFILE = f"arn:aws:bedrock:us-west-2:{ACCOUNT}:inference-profile/us.stability.sd3-5-large-v1:0"
WEB_ACL = (
    f"arn:aws:wafv2:us-east-1:{ACCOUNT}:regional/webacl/api/1a2b3c4d-0000-1111-2222-333344445555"
)
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/teams/images"

TAKEN = {
    "UpstreamSecretArn": ("", SECRET, SECRET.replace("aws:", "aws-us-gov:")),
    "UpstreamSecretKeyArn": ("", KEY, KEY.replace("key/", "key/mrk-")),
    "BedrockModelId": (
        "stability.sd3-5-large-v1:0",
        "us.stability.sd3-5-large-v1:0",
        MODEL,
        PROFILE,
        f"arn:aws:bedrock:us-west-2:{ACCOUNT}:provisioned-model/abc",
    ),
    "BedrockResourceArns": ("", PROFILE, f"{PROFILE},{MODEL}"),
    "SubnetIds": ("", "subnet-0a1b2c3d", "subnet-0a1b2c3d,subnet-0e5f60718293a4b5c"),
    "SecurityGroupIds": ("", "sg-0a1b2c3d", "sg-0a1b2c3d,sg-0e5f60718293a4b5c"),
    "PreviousKmsKeyArns": ("", KEY, f"{KEY},{KEY}"),
    "EventBusName": ("default", "image-jobs_1.prod"),
    "WebAclArn": ("", WEB_ACL),
    "PermissionsBoundaryArn": ("", BOUNDARY, "arn:aws:iam::aws:policy/PowerUserAccess"),
}

REFUSED = {
    "UpstreamSecretArn": ("sd3-upstream", SECRET.removesuffix("-AbC123"), f"{SECRET},{SECRET}"),
    "UpstreamSecretKeyArn": ("alias/sd3", KEY.replace("key/", "alias/"), f"{KEY},{KEY}"),
    "BedrockModelId": ("", "arn:aws:bedrock", f"arn:aws:s3:::{ACCOUNT}", f"{MODEL},{PROFILE}", "*"),
    "BedrockResourceArns": (
        "stability.sd3-5-large-v1:0",
        "*",
        "arn:aws:bedrock:us-west-2::foundation-model/*",
        f"{PROFILE}, {MODEL}",
    ),
    "SubnetIds": ("10.0.0.0/24", "sg-0a1b2c3d", "subnet-0a1b2c3d, subnet-0a1b2c3d", ","),
    "SecurityGroupIds": ("default", "subnet-0a1b2c3d", "sg-0a1b2c3d,"),
    "PreviousKmsKeyArns": ("alias/sd3", f"{KEY},", f"{KEY} {KEY}"),
    "EventBusName": ("", f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/x", "a b", "a/b"),
    "WebAclArn": ("api", WEB_ACL.replace("regional", "global")),
    "PermissionsBoundaryArn": ("images", f"arn:aws:iam::{ACCOUNT}:role/images"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_parameter_takes_what_it_is_for_and_no_nonsense(name: str) -> None:
    """CloudFormation holds a pattern against the whole value before it makes anything."""
    pattern = re.compile(source()["Parameters"][name]["AllowedPattern"])
    assert [value for value in TAKEN[name] if not pattern.fullmatch(value)] == []
    assert [value for value in REFUSED[name] if pattern.fullmatch(value)] == []


@pytest.mark.parametrize(
    ("given", "broken"),
    [
        ({}, []),
        ({"JwtIssuer": "https://x", "JwtAudience": "y"}, []),
        ({"JwtIssuer": "https://x"}, ["JwtsHaveAnAudience"]),
        ({"SubnetIds": "subnet-0a", "SecurityGroupIds": "sg-0b"}, []),
        ({"SubnetIds": "subnet-0a"}, ["SubnetsHaveSecurityGroups"]),
        ({"SecurityGroupIds": "sg-0b"}, ["SecurityGroupsHaveSubnets"]),
        ({"UpstreamSecretKeyArn": KEY, "UpstreamSecretArn": SECRET}, []),
        ({"UpstreamSecretKeyArn": KEY}, ["SecretKeysHaveASecret"]),
    ],
)
def test_parameters_that_need_another_are_refused_without_it(
    given: dict[str, str], broken: list[str]
) -> None:
    assert broken_rules(**given) == broken


def test_by_default_only_origins_the_log_role_and_the_protection_of_tables_are_set() -> None:
    assert conditions() == {"OneOrigin", "ManagesApiLogs", "ProtectsTables"}


def test_by_default_nothing_is_reserved_and_nothing_of_others_is_referred_to() -> None:
    made = {
        name: resource
        for name, resource in translated().items()
        if resource.get("Condition") in {None} | conditions()
    }
    text = str(resolved(made, conditions()))
    for name in TAKEN.keys() - {"UpstreamSecretArn", "BedrockModelId", "EventBusName"}:
        assert name not in text
    for name in ("ReservedConcurrentExecutions", "VpcConfig", "PermissionsBoundary", "WebACL"):
        assert name not in text


@pytest.mark.parametrize("name", ["Authorizer", "Generate", "Jobs", "Mcp"])
def test_executions_are_reserved_for_the_function_that_they_are_wanted_for(name: str) -> None:
    """In a new account AWS refuses any reservation, also one of the default quota's part."""
    wanted = f"{name}ReservedConcurrency"
    reserved = {
        function: resource["Properties"]["ReservedConcurrentExecutions"]
        for function, resource in of_type(
            resolved(translated(), conditions(**{wanted: "7"})), "AWS::Lambda::Function"
        ).items()
        if "ReservedConcurrentExecutions" in resource["Properties"]
    }
    assert reserved == {f"{name}Function": {"Ref": wanted}}
