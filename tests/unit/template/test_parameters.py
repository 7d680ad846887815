"""The values that the parameters of template.yaml may have."""

import json
import re
from typing import Any, Final

import pytest

from tests.support.factories.conditions import broken_rules
from tests.support.factories.template import (
    functions,
    of_type,
    references,
    resolved,
    source,
    translated,
)

MOST_BYTES: Final = 4096
"""Of all variables of a function: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

LONGEST: Final = {
    "AWS::S3::Bucket": 63,
    "AWS::SQS::Queue": len("https://sqs.ap-southeast-2.amazonaws.com.cn/123456789012/") + 80,
    # A stack's name of 128 characters, the resource's and 12 random ones
    "AWS::DynamoDB::Table": 128 + len("-UpstreamsTable-") + 12,
}
"""Lengths of what a reference to a resource becomes."""

PSEUDO_PARAMETERS: Final = {
    "AWS::URLSuffix": len("amazonaws.com.cn"),
    "AWS::StackName": 128,
    "AWS::StackId": len(
        "sd3-master-d2a2f9a0-0123-11f1-8a3b-0a1b2c3d4e5f"
    ),  # a part of it, in a name
}


def longest(value: Any) -> str:
    """Return a text that is as long as a variable's value can become."""
    if isinstance(value, str):
        return value
    return "".join("x" * longest_reference(name) for name in references(value))


def longest_reference(name: str) -> int:
    if name in PSEUDO_PARAMETERS:
        return PSEUDO_PARAMETERS[name]
    if resource := translated().get(name):
        return LONGEST[resource["Type"]]
    parameter = source()["Parameters"][name]
    if "AllowedValues" in parameter:
        return max(len(str(allowed)) for allowed in parameter["AllowedValues"])
    if parameter["Type"] == "Number":
        return len("2147483647")
    return int(parameter["MaxLength"])


@pytest.mark.parametrize("name", functions())
def test_the_longest_values_fit_into_a_functions_variables(name: str) -> None:
    """Otherwise an update fails late, in the middle of the stack."""
    function = of_type(translated(), "AWS::Lambda::Function")[name]
    variables = function["Properties"]["Environment"]["Variables"]
    filled = {key: longest(value) for key, value in variables.items()}
    assert len(json.dumps(filled)) <= MOST_BYTES


def test_who_makes_jobs_makes_the_same_keys_of_results() -> None:
    """A result is found by a key in which all is that decides how its files are made."""
    deciding = ("UPSTREAM", "UPSTREAM_URL", "BEDROCK_REGION", "STABILITY_MODEL", "BEDROCK_MODEL_ID",
                "OPENAI_MODEL", "PROVENANCE", "C2PA_SECRET", "REUSE_RESULTS")  # fmt: skip
    deployed = of_type(translated(), "AWS::Lambda::Function")
    for name in ("GenerateFunction", "McpFunction", "InboxFunction", "BatchLinesFunction"):
        variables = deployed[name]["Properties"]["Environment"]["Variables"]
        assert set(deciding) <= set(variables), name


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("AllowedOrigins", "*", True),
        ("AllowedOrigins", "https://app.example.com", True),
        ("AllowedOrigins", "https://app.example.com,http://localhost:3000", True),
        ("AllowedOrigins", "https://app.example.com, https://b.example.com", False),
        ("AllowedOrigins", "https://app.example.com/", False),
        ("AllowedOrigins", "app.example.com", False),
        ("DomainName", "", True),
        ("DomainName", "images.example.com", True),
        ("DomainName", "https://images.example.com", False),
        ("DomainName", "Images.example.com", False),
        ("CertificateArn", "arn:aws:acm:eu-central-1:123456789012:certificate/1-2", True),
        ("CertificateArn", "arn:aws:iam::123456789012:server-certificate/x", False),
        ("HostedZoneId", "Z2FDTNDATAQYW2", True),
        ("HostedZoneId", "/hostedzone/Z2FDTNDATAQYW2", False),
    ],
)
def test_a_value_that_cannot_work_is_refused_before_anything_is_made(
    name: str, value: str, allowed: bool
) -> None:
    pattern = source()["Parameters"][name]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, value)) == allowed


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({}, True),
        ({"DomainName": "a.b", "CertificateArn": "arn"}, True),
        ({"DomainName": "a.b", "CertificateArn": "arn", "HostedZoneId": "Z1"}, True),
        ({"DomainName": "a.b"}, False),
        ({"CertificateArn": "arn"}, False),
        ({"HostedZoneId": "Z1"}, False),
        ({"JwtIssuer": "https://issuer"}, False),
    ],
)
def test_parameters_that_need_each_other_are_refused_alone(
    values: dict[str, str], allowed: bool
) -> None:
    assert (not broken_rules(**values)) == allowed


def test_the_url_of_the_api_is_its_domain_if_it_has_one() -> None:
    url = source()["Outputs"]["ApiUrl"]["Value"]
    assert resolved(url, {"HasDomain"}) == {"Fn::Sub": "https://${DomainName}"}
    assert "execute-api" in resolved(url, set())["Fn::Sub"]
