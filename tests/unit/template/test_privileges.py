"""What the roles of the template may do, who may take them on, and who may call the functions."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from sd3.adapters.eventbridge import DETAIL_TYPE, SOURCE, WEBHOOK_DISABLED
from tests.support.factories.conditions import conditions
from tests.support.factories.template import (
    Resources,
    functions,
    of_type,
    published,
    resolved,
    source,
    translated,
)
from tests.support.privileges import GENERATING, GRANTS, Grants

AS_TESTED = {"HasUpstreamSecret"}
"""The conditions that hold for the stack of the e2e tests."""

READS_MASTER_SECRET = (*GENERATING, "JobsFunction", "WebhooksFunction", "DeliveriesFunction")
"""Those that sign marks, the one that verifies them, and those that make secrets of webhooks."""

FOR_SECRETS = {
    "StringEquals": {
        "kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"}
    }
}

OUR_SERVICES = {
    "StringEquals": {
        "kms:ViaService": [
            {"Fn::Sub": f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}"}
            for service in ("dynamodb", "s3", "sqs")
        ]
    }
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policies(function: str, holding: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the statements of a function's own policies, where these conditions hold."""
    role = resolved(translated()[f"{function}Role"]["Properties"], holding)
    for policy in role["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def named(resource: Any) -> str:
    """Make a policy's resource, as tests/support/privileges.py names it."""
    match resource:
        case {"Fn::GetAtt": [name, "Arn" | "Id"]} | {"Ref": name}:
            return str(name)
        case {"Fn::GetAtt": [name, "StreamArn"]}:
            return f"{name}/stream"
        case {"Fn::Split": [",", {"Ref": name}]}:
            return str(name)
        case "*":
            return "*"
        case {"Fn::Sub": text}:
            return re.sub(r"^arn:.*:", "", re.sub(r"^\$\{(\w+)\.Arn\}", r"\1", text))
    raise AssertionError(resource)


def listed_part(statement: dict[str, Any]) -> str:
    """Return the part of a resource that a statement is for, as in tests/support/privileges.py."""
    match statement.get("Condition"):
        case {"StringEquals": {"events:detail-type": kind}}:
            return f"?detail-type={kind}"
        case {"StringLike": {"s3:prefix": prefix}}:
            return f"?prefix={prefix}"
    return ""


def grants(function: str, holding: set[str]) -> Grants:
    """Return all that a function's own policies allow it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for statement in policies(function, holding):
        if statement["Effect"] == "Allow":
            for resource in listed(statement["Resource"]):
                found[named(resource) + listed_part(statement)] |= {*listed(statement["Action"])}
    return dict(found)


def test_the_table_has_every_function() -> None:
    assert set(GRANTS) == set(functions())


@pytest.mark.parametrize("function", GRANTS)
def test_a_role_may_do_what_the_table_lists_and_no_more(function: str) -> None:
    assert grants(function, AS_TESTED) == GRANTS[function]


@pytest.mark.parametrize("function", GRANTS)
def test_without_a_secret_none_may_be_read(function: str) -> None:
    without = {k: v for k, v in GRANTS[function].items() if k != "UpstreamSecretArn"}
    assert grants(function, set()) == without


@pytest.mark.parametrize("function", GRANTS)
def test_only_functions_that_sign_images_may_read_the_key_that_signs(function: str) -> None:
    read = {"C2paSecretArn": {"secretsmanager:GetSecretValue"}} if function in GENERATING else {}
    holding = AS_TESTED | conditions(C2paSecretArn="arn")
    assert grants(function, holding) == GRANTS[function] | read


ARN = "arn:aws:bedrock:us-west-2:123456789012"


@pytest.mark.parametrize(
    ("parameters", "resource"),
    [
        ({}, "foundation-model/${BedrockModelId}"),
        ({"BedrockModelId": f"{ARN}:provisioned-model/abc"}, "BedrockModelId"),
        ({"BedrockModelId": "arn:aws:bedrock:us-west-2::foundation-model/x"}, "BedrockModelId"),
        (
            {
                "BedrockModelId": f"{ARN}:application-inference-profile/abc",
                "BedrockResourceArns": f"{ARN}:application-inference-profile/abc,"
                "arn:aws:bedrock:us-west-2::foundation-model/x",
            },
            "BedrockResourceArns",
        ),
        (
            {
                "BedrockModelId": "us.stability.sd3-5-large-v1:0",
                "BedrockResourceArns": f"{ARN}:inference-profile/us.stability.sd3-5-large-v1:0,"
                "arn:aws:bedrock:us-west-2::foundation-model/stability.sd3-5-large-v1:0",
            },
            "BedrockResourceArns",
        ),
    ],
    ids=["model id", "provisioned model", "model", "own profile", "profile of AWS"],
)
@pytest.mark.parametrize("function", GRANTS)
def test_generating_functions_may_invoke_what_bedrock_is_asked_for(
    function: str, parameters: dict[str, str], resource: str
) -> None:
    """A profile is authorized together with its models, in each of their regions."""
    holding = AS_TESTED | conditions(Upstream="stability,bedrock", **parameters)
    invoked = {resource: {"bedrock:InvokeModel"}} if function in GENERATING else {}
    assert grants(function, holding) == GRANTS[function] | invoked


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"UpstreamSecretArn": "secret"}, None),
        ({"UpstreamSecretArn": "secret", "UpstreamSecretKeyArn": "key"}, "UpstreamSecretKeyArn"),
        ({"UpstreamSecretArn": "secret", "KmsKeyArn": "key"}, "KmsKeyArn"),
        (
            {"UpstreamSecretArn": "x", "UpstreamSecretKeyArn": "one", "KmsKeyArn": "other"},
            "UpstreamSecretKeyArn",
        ),
        ({"KmsKeyArn": "key"}, None),
        ({"C2paSecretArn": "secret", "KmsKeyArn": "key"}, "KmsKeyArn"),
    ],
    ids=["AWS's key", "its own key", "our key", "its own and ours", "no secret", "only C2PA's"],
)
@pytest.mark.parametrize("function", GRANTS)
def test_the_key_of_the_secret_may_be_used_for_the_secret_alone(
    function: str, parameters: dict[str, str], key: str | None
) -> None:
    """KmsKeyArn encrypts the master secret too, whatever encrypts the upstream's."""
    found = {
        named(statement["Resource"])
        for statement in policies(function, conditions(**parameters))
        if statement.get("Condition") == FOR_SECRETS
    }
    expected = {key} if key and function in GENERATING else set()
    if "KmsKeyArn" in parameters and function in READS_MASTER_SECRET:
        expected |= {"KmsKeyArn"}
    assert found == expected


@pytest.mark.parametrize("function", GRANTS)
def test_images_are_copied_by_who_makes_jobs_where_results_are_reused(function: str) -> None:
    holding = AS_TESTED | conditions(ReuseResults="seeded")
    copies = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    makes_jobs = function in {
        "GenerateFunction", "McpFunction", "InboxFunction", "BatchLinesFunction",
    }  # fmt: skip
    assert grants(function, holding) == GRANTS[function] | (
        {"ImagesBucket/*": copies} if makes_jobs else {}
    )


@pytest.mark.parametrize("function", GRANTS)
def test_what_previous_keys_encrypted_may_be_read_and_nothing_be_written_with_them(
    function: str,
) -> None:
    """Also when there is no key any more."""
    holding = AS_TESTED | conditions(PreviousKmsKeyArns="one,other")
    reads = {"PreviousKmsKeyArns": {"kms:Decrypt"}}
    assert grants(function, holding) == GRANTS[function] | reads
    used = [s["Condition"] for s in policies(function, holding) if "kms:" in str(s["Action"])]
    reads_secrets = function in READS_MASTER_SECRET
    assert used == ([OUR_SERVICES, FOR_SECRETS] if reads_secrets else [OUR_SERVICES])


PUT_EVENTS = {"NotificationsFunction": DETAIL_TYPE, "DeliveriesFunction": WEBHOOK_DISABLED}


@pytest.mark.parametrize(("function", "kind"), PUT_EVENTS.items())
def test_events_may_be_put_that_are_ours_only(function: str, kind: str) -> None:
    [put] = (s for s in policies(function, set()) if "events:" in str(s["Action"]))
    assert put["Condition"] == {
        "StringEquals": {"events:source": SOURCE, "events:detail-type": kind}
    }


@pytest.mark.parametrize("function", PUT_EVENTS)
def test_the_bus_that_events_go_to_is_the_one_that_the_role_allows(function: str) -> None:
    environment = translated()[function]["Properties"]["Environment"]
    assert environment["Variables"]["EVENT_BUS"] == {"Ref": "EventBusName"}


def test_every_role_has_the_boundary_if_there_is_one() -> None:
    for role in of_type(translated(), "AWS::IAM::Role").values():
        bounded = resolved(role["Properties"], conditions(PermissionsBoundaryArn="arn"))
        assert bounded["PermissionsBoundary"] == {"Ref": "PermissionsBoundaryArn"}
        assert "PermissionsBoundary" not in resolved(role["Properties"], conditions())


@pytest.mark.parametrize("function", GRANTS)
def test_a_key_may_be_used_for_what_a_function_reads_or_writes(function: str) -> None:
    only_reads = function == "AuthorizerFunction"
    uses = {"kms:Decrypt"} if only_reads else {"kms:Decrypt", "kms:GenerateDataKey"}
    assert grants(function, AS_TESTED | {"HasKmsKey"}) == GRANTS[function] | {"KmsKeyArn": uses}


@pytest.mark.parametrize("function", GRANTS)
def test_a_key_is_used_by_way_of_our_services_only(function: str) -> None:
    used = [
        statement["Condition"]
        for statement in policies(function, {"HasKmsKey"})
        if "kms:" in str(statement["Action"])
    ]
    reads_secrets = function in READS_MASTER_SECRET
    assert used == ([OUR_SERVICES, FOR_SECRETS] if reads_secrets else [OUR_SERVICES])


@pytest.mark.parametrize("function", GRANTS)
def test_a_function_logs_to_its_own_group_only(function: str) -> None:
    """What AWSLambdaBasicExecutionRole allows on every group is denied on all but one."""
    denied = [s for s in policies(function, AS_TESTED) if s["Effect"] == "Deny"]
    assert [s for s in denied if "logs:" in str(s["Action"])] == [
        {
            "Effect": "Deny",
            "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            "NotResource": {"Fn::GetAtt": ["FunctionsLogGroup", "Arn"]},
        }
    ]


@pytest.mark.parametrize("function", GRANTS)
def test_only_lambda_takes_on_the_role_of_a_function(function: str) -> None:
    role = translated()[f"{function}Role"]["Properties"]
    [trusted] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": ["lambda.amazonaws.com"]}
    assert trusted["Action"] == ["sts:AssumeRole"]


def test_functions_share_no_role() -> None:
    created = {f"{name}Role" for name in functions()}
    assert set(of_type(translated(), "AWS::IAM::Role")) == created | {"ApiLogsRole", "CanaryRole"}
    for name in functions():
        role = translated()[name]["Properties"]["Role"]
        assert role == {"Fn::GetAtt": [f"{name}Role", "Arn"]}


def deputies(resources: Resources) -> Iterator[str]:
    """Permissions with which a service may call a function for somebody who is not us."""
    rules = [{"Fn::GetAtt": [name, "Arn"]} for name in of_type(resources, "AWS::Events::Rule")]
    for name, permission in of_type(resources, "AWS::Lambda::Permission").items():
        properties = permission["Properties"]
        source, principal = properties.get("SourceArn"), properties["Principal"]
        if not principal.endswith(".amazonaws.com"):
            yield f"{name}: {principal} is no service"
        if source not in rules and "${AWS::AccountId}:${__ApiId__}" not in str(source):
            yield f"{name}: no source, or none of ours"


def test_a_service_calls_a_function_for_us_only() -> None:
    permissions = of_type(translated(), "AWS::Lambda::Permission").values()
    called = {str(p["Properties"]["Principal"]) for p in permissions}
    assert called == {"apigateway.amazonaws.com", "events.amazonaws.com"}
    assert list(deputies(translated())) == []


@pytest.mark.parametrize(
    ("properties", "field_errors"),
    [
        ({"Principal": "s3.amazonaws.com", "SourceAccount": {"Ref": "AWS::AccountId"}}, 1),
        ({"Principal": "events.amazonaws.com"}, 1),
        ({"Principal": "*", "SourceArn": "arn:aws:s3:::bucket"}, 2),
    ],
)
def test_a_confused_deputy_would_be_found(properties: dict[str, Any], field_errors: int) -> None:
    permission = {"Type": "AWS::Lambda::Permission", "Properties": properties}
    assert len(list(deputies({"Permission": permission}))) == field_errors


def test_the_policies_of_buckets_and_queues_allow_the_inboxs_rule_to_give_up_events() -> None:
    kinds = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")
    attached = [policy for kind in kinds for policy in of_type(translated(), kind).values()]
    assert len(attached) == 5
    statements = [s for each in attached for s in each["Properties"]["PolicyDocument"]["Statement"]]
    [rule] = of_type(translated(), "AWS::Events::Rule")
    assert [statement for statement in statements if statement["Effect"] != "Deny"] == [
        {
            "Sid": "InboxEvents",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": {"Fn::GetAtt": ["UnprocessableQueue", "Arn"]},
            "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}},
        }
    ]


@pytest.mark.parametrize(("tracing", "is_traced"), [("Active", True), ("Disabled", False)])
def test_a_function_may_write_traces_only_where_they_are_wanted(
    tracing: str, is_traced: bool
) -> None:
    resources = published(Tracing=tracing)
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        policies = resources[f"{name}Role"]["Properties"]["ManagedPolicyArns"]
        assert any("Xray" in policy for policy in policies) is is_traced, name
        assert ("TracingConfig" in function["Properties"]) is is_traced, name
    [stage] = of_type(resources, "AWS::ApiGateway::Stage").values()
    holding = {"IsTraced"} if is_traced else set()
    assert resolved(stage["Properties"], holding)["TracingEnabled"] is is_traced


def test_nothing_is_traced_unless_it_is_wanted() -> None:
    assert source()["Parameters"]["Tracing"]["Default"] == "Disabled"
