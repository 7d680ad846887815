"""The functions that call upstreams can be in a VPC, and only Lambda may make their networks."""

from typing import Any

import pytest

from tests.support.factories.conditions import conditions
from tests.support.factories.template import functions, of_type, resolved, translated

IN_VPC = {"GenerateFunction", "WorkerFunction"}

SUBNETS = {"SubnetIds": "subnet-0a,subnet-0b", "SecurityGroupIds": "sg-0c"}

MANAGED = "service-role/AWSLambdaVPCAccessExecutionRole"


def denied(function: str, holding: set[str]) -> list[dict[str, Any]]:
    """Return what a function's own policies deny of EC2."""
    role = resolved(translated()[f"{function}Role"]["Properties"], holding)
    statements = [s for p in role["Policies"] for s in p["PolicyDocument"]["Statement"]]
    return [s for s in statements if s["Effect"] == "Deny" and "ec2:" in str(s["Action"])]


def test_with_subnets_the_functions_that_call_upstreams_are_in_a_vpc() -> None:
    holding = conditions(**SUBNETS)
    found = {
        name: function["Properties"]["VpcConfig"]
        for name, function in of_type(
            resolved(translated(), holding), "AWS::Lambda::Function"
        ).items()
        if "VpcConfig" in function["Properties"]
    }
    split = {name: {"Fn::Split": [",", {"Ref": name}]} for name in SUBNETS}
    assert found == dict.fromkeys(IN_VPC, split)


def test_without_subnets_no_function_is() -> None:
    assert "VpcConfig" not in str(resolved(translated(), conditions()))


@pytest.mark.parametrize("function", sorted(functions()))
def test_only_lambda_may_use_the_permissions_for_networks_that_sam_attaches(function: str) -> None:
    """SAM attaches them whether or not a condition takes the VpcConfig away."""
    attached = MANAGED in str(translated()[f"{function}Role"]["Properties"]["ManagedPolicyArns"])
    assert attached == (function in IN_VPC)
    if not attached:
        assert denied(function, conditions()) == []
        return
    [without] = denied(function, conditions())
    [within] = denied(function, conditions(**SUBNETS))
    assert without == {key: value for key, value in within.items() if key != "Condition"}
    assert without["Resource"] == "*"
    assert set(without["Action"]) == {
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    }
    assert within["Condition"] == {"Null": {"lambda:SourceFunctionArn": False}}
