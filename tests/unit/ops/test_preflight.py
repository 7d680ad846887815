"""make preflight: each thing that an account can lack, by AWS's own answers."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import boto3
import pytest
from botocore.stub import Stubber

from ops import preflight
from ops.deployments import Deployment, pairs, read_deployment
from ops.preflight import Finding, findings
from tests.support.factories.signing_certificates import issued, root, secret

REGION: Final = "eu-west-1"
ACCOUNT: Final = f"{REGION}:123456789012"
SECRET: Final = f"arn:aws:secretsmanager:{ACCOUNT}:secret:sd3-AbCdEf"
KEY: Final = f"arn:aws:kms:{ACCOUNT}:key/1-2-3"
TOPIC: Final = f"arn:aws:sns:{ACCOUNT}:alarms"
CERTIFICATE: Final = f"arn:aws:acm:{ACCOUNT}:certificate/1-2"
BOUNDARY: Final = "arn:aws:iam::123456789012:policy/boundary"
WEB_ACL: Final = f"arn:aws:wafv2:{ACCOUNT}:regional/webacl/sd3/1-2"
ROLE: Final = "arn:aws:iam::123456789012:role/sd3-ApiLogsRole-1"

Answers = dict[str, Any]
"""What AWS answers to each call: a response, or the code of an error."""

WELL: Final[Answers] = {
    "sts.get_caller_identity": {"Account": "123456789012"},
    "cloudformation.describe_stacks": "ValidationError",
    "lambda.get_account_settings": {"AccountLimit": {"ConcurrentExecutions": 1000}},
    "secretsmanager.describe_secret": {"ARN": SECRET},
    "secretsmanager.get_secret_value": {"SecretString": secret(issued(root()))},
    "bedrock.get_foundation_model": {
        "modelDetails": {"modelArn": "x", "modelId": "x", "modelLifecycle": {"status": "ACTIVE"}}
    },
    "bedrock.get_foundation_model_availability": {
        "modelId": "x",
        "agreementAvailability": {"status": "AVAILABLE"},
        "authorizationStatus": "AUTHORIZED",
        "entitlementAvailability": "AVAILABLE",
        "regionAvailability": "AVAILABLE",
    },
    "bedrock.get_inference_profile": "ResourceNotFoundException",
    "kms.describe_key": {"KeyMetadata": {"KeyId": KEY, "KeyState": "Enabled"}},
    "sns.get_topic_attributes": {"Attributes": {"TopicArn": TOPIC}},
    "acm.describe_certificate": {
        "Certificate": {"Status": "ISSUED", "SubjectAlternativeNames": ["*.example.com"]}
    },
    "route53.get_hosted_zone": {
        "HostedZone": {"Id": "Z1", "Name": "example.com.", "CallerReference": "x"}
    },
    "events.describe_event_bus": {"Name": "default"},
    "iam.get_policy": {"Policy": {"Arn": BOUNDARY}},
    "wafv2.get_web_acl": {"LockToken": "x"},
    "ec2.describe_subnets": {"Subnets": []},
    "ec2.describe_security_groups": {"SecurityGroups": []},
    "apigateway.get_account": {},
    "iam.get_role": "NoSuchEntity",
}
"""An account that lacks nothing, in which no stack is yet."""


def a_stack(status: str) -> dict[str, Any]:
    stack = {"StackName": "sd3", "StackStatus": status, "CreationTime": "2026-11-27T00:00:00Z"}
    return {"Stacks": [stack]}


@cache
def session() -> boto3.Session:
    """Read AWS's models once for all tests."""
    return boto3.Session("x", "x", region_name=REGION)


def clients(answers: Answers) -> Callable[..., Any]:
    """Return what stands for `boto3.client`. It checks calls and answers by AWS's own models."""

    def client(service: Any, region_name: str = REGION) -> Any:
        made = session().client(service, region_name=region_name)
        stub = Stubber(made)
        stub.activate()
        for name, answer in answers.items():
            if not name.startswith(f"{service}."):
                continue
            method = name.partition(".")[2]
            answered(made, stub, method, answer)
        return made

    return client


def answered(made: Any, stub: Stubber, method: str, answer: Any) -> None:
    """Make each call of a method get this one answer, in whatever order they come."""
    call = getattr(made, method)

    def one(**parameters: Any) -> Any:
        if isinstance(answer, str):
            stub.add_client_error(method, answer, "Stack with id sd3 does not exist")
        else:
            stub.add_response(method, answer)
        return call(**parameters)

    setattr(made, method, one)


def deployment(changed: str) -> Deployment:
    given = f"UpstreamUrl=https://images.internal UpstreamSecretArn={SECRET} {changed}"
    declared = read_deployment("prod").declared
    return Deployment(stack="sd3", region=REGION, given=pairs(given), declared=declared, tags={})


def found(changed: str = "", **answers: Any) -> list[Finding]:
    """Return the findings for other parameters, in an account that answers differently."""
    named = {name.replace("__", "."): answer for name, answer in answers.items()}
    return list(findings(deployment(changed), clients(WELL | named)))


EVERYTHING: Final = (
    f"Upstream=bedrock KmsKeyArn={KEY} AlarmTopicArn={TOPIC} DomainName=images.example.com "
    f"CertificateArn={CERTIFICATE} HostedZoneId=Z1 EventBusName=jobs WebAclArn={WEB_ACL} "
    f"PermissionsBoundaryArn={BOUNDARY} SubnetIds=subnet-1 SecurityGroupIds=sg-1 "
    f"C2paSecretArn={SECRET}"
)


def test_an_account_that_lacks_nothing_is_deployed_to() -> None:
    assert found() == found(EVERYTHING) == []


def test_a_new_account_has_room_for_the_least_of_everything() -> None:
    least = " ".join(f"{name}Concurrency=2" for name in ("Worker", "Batch", "Webhook"))
    ten = {"AccountLimit": {"ConcurrentExecutions": 10}}
    assert not found(least, lambda__get_account_settings=ten)


def test_a_model_may_be_an_inference_profile() -> None:
    profile = {
        "inferenceProfileName": "x",
        "models": [{"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/x"}],
        "inferenceProfileArn": "arn:aws:bedrock:us-east-1:123456789012:inference-profile/x",
        "inferenceProfileId": "x",
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }
    absent = "ResourceNotFoundException"
    assert not found(
        EVERYTHING, bedrock__get_foundation_model=absent, bedrock__get_inference_profile=profile
    )


OTHER_KEY: Final = {"ARN": SECRET, "KmsKeyId": f"arn:aws:kms:{ACCOUNT}:key/9-9"}
OTHER_REGION: Final = SECRET.replace(REGION, "us-east-1")
EXPIRED: Final = issued(root(), days=(-9, -1))
LEGACY: Final = {
    "modelDetails": {"modelArn": "x", "modelId": "x", "modelLifecycle": {"status": "LEGACY"}}
}
NOT_GRANTED: Final = WELL["bedrock.get_foundation_model_availability"] | {
    "authorizationStatus": "NOT_AUTHORIZED"
}
OTHER_NAME: Final = {"Certificate": {"Status": "ISSUED", "DomainName": "images.example.org"}}
A_ROLE: Final = {
    "Role": {
        "Path": "/",
        "RoleName": "sd3-ApiLogsRole-1",
        "RoleId": "x" * 16,
        "Arn": ROLE,
        "CreateDate": "2026-11-27T00:00:00Z",
    }
}


@pytest.mark.parametrize(
    ("changed", "answers", "said"),
    [
        ("", {"cloudformation__describe_stacks": a_stack("ROLLBACK_COMPLETE")}, "delete-stack"),
        ("", {"cloudformation__describe_stacks": a_stack("UPDATE_IN_PROGRESS")}, "wait"),
        ("", {"cloudformation__describe_stacks": a_stack("UPDATE_FAILED")}, "rollback-stack"),
        (
            "",
            {"cloudformation__describe_stacks": a_stack("UPDATE_ROLLBACK_FAILED")},
            "continue-update-rollback",
        ),
        (
            "",
            {"lambda__get_account_settings": {"AccountLimit": {"ConcurrentExecutions": 10}}},
            "L-B99A9384",
        ),
        ("WorkerConcurrency=982", {}, "L-B99A9384"),
        ("BatchConcurrency=977", {}, "L-B99A9384"),
        ("WebhookConcurrency=982", {}, "L-B99A9384"),
        ("GenerateReservedConcurrency=901", {}, "only if 100 are left"),
        (EVERYTHING, {"events__describe_event_bus": "ResourceNotFoundException"}, "no bus jobs"),
        (EVERYTHING, {"iam__get_policy": "NoSuchEntity"}, "PermissionsBoundaryArn"),
        (EVERYTHING, {"wafv2__get_web_acl": "WAFNonexistentItemException"}, "WebAclArn"),
        (EVERYTHING, {"ec2__describe_subnets": "InvalidSubnetID.NotFound"}, "SubnetIds=subnet-1"),
        (EVERYTHING, {"ec2__describe_security_groups": "InvalidGroup.NotFound"}, "=sg-1"),
        ("", {"secretsmanager__describe_secret": "ResourceNotFoundException"}, "no secret"),
        (
            "",
            {
                "secretsmanager__describe_secret": {
                    "ARN": SECRET,
                    "DeletedDate": "2026-11-27T00:00:00Z",
                }
            },
            "to be deleted",
        ),
        ("", {"secretsmanager__describe_secret": OTHER_KEY}, "key/9-9"),
        (f"UpstreamSecretArn={OTHER_REGION}", {}, "not of the stack's region"),
        (f"C2paSecretArn={OTHER_REGION}", {}, "C2paSecretArn is not of the stack's region"),
        (
            EVERYTHING,
            {"secretsmanager__get_secret_value": {"SecretString": "sk-1"}},
            "cannot sign images: it is not JSON",
        ),
        (
            EVERYTHING,
            {"secretsmanager__get_secret_value": {"SecretString": secret(EXPIRED)}},
            "put another one into the secret",
        ),
        (EVERYTHING, {"bedrock__get_foundation_model": "ValidationException"}, "no model"),
        (EVERYTHING, {"bedrock__get_foundation_model": LEGACY}, "legacy"),
        (EVERYTHING, {"bedrock__get_foundation_model_availability": NOT_GRANTED}, "ask for access"),
        (EVERYTHING, {"kms__describe_key": "NotFoundException"}, "no key"),
        (
            EVERYTHING,
            {"kms__describe_key": {"KeyMetadata": {"KeyId": KEY, "KeyState": "Disabled"}}},
            "enable-key",
        ),
        (EVERYTHING, {"sns__get_topic_attributes": "NotFound"}, "no topic"),
        (
            EVERYTHING,
            {"sns__get_topic_attributes": {"Attributes": {"KmsMasterKeyId": "alias/aws/sns"}}},
            "alarms cannot write",
        ),
        (
            EVERYTHING,
            {"acm__describe_certificate": {"Certificate": {"Status": "PENDING_VALIDATION"}}},
            "no issued certificate",
        ),
        (EVERYTHING, {"acm__describe_certificate": OTHER_NAME}, "not for images.example.com"),
        (EVERYTHING, {"route53__get_hosted_zone": "NoSuchHostedZone"}, "not the zone"),
        (
            "",
            {"apigateway__get_account": {"cloudwatchRoleArn": ROLE}, "iam__get_role": A_ROLE},
            "ManageApiLogs=false",
        ),
        ("ManageApiLogs=false", {}, "ManageApiLogs=true"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    changed: str, answers: dict[str, Any], said: str
) -> None:
    [finding] = found(changed, **answers)
    assert finding.fatal
    assert said in finding.text


def test_all_that_is_missing_is_said_at_once() -> None:
    missing = found(
        f"{EVERYTHING} WorkerConcurrency=1",
        kms__describe_key="NotFoundException",
        sns__get_topic_attributes="NotFound",
    )
    assert len(missing) == 3


OWN: Final = {
    "StackResourceDetail": {
        "LogicalResourceId": "ApiLogsRole",
        "PhysicalResourceId": "sd3-ApiLogsRole-1",
        "ResourceType": "AWS::IAM::Role",
        "LastUpdatedTimestamp": "2026-11-27T00:00:00Z",
        "ResourceStatus": "CREATE_COMPLETE",
    }
}


@pytest.mark.parametrize(("resource", "missing"), [(OWN, 0), ("ValidationError", 1)])
def test_a_log_role_of_the_stack_itself_is_no_other_ones(resource: Any, missing: int) -> None:
    account = {"cloudwatchRoleArn": ROLE}
    answers = {
        "apigateway__get_account": account,
        "iam__get_role": A_ROLE,
        "cloudformation__describe_stacks": a_stack("UPDATE_COMPLETE"),
        "cloudformation__describe_stack_resource": resource,
    }
    assert len(found("", **answers)) == missing


def test_a_log_role_that_was_deleted_is_in_nobodys_way() -> None:
    assert not found("", apigateway__get_account={"cloudwatchRoleArn": ROLE})


def test_what_the_caller_may_not_read_is_no_fault_of_the_account() -> None:
    [finding] = found("", lambda__get_account_settings="AccessDeniedException")
    assert finding == Finding("Lambda's concurrency: you may not read it", fatal=False)


def test_without_credentials_nothing_else_is_asked() -> None:
    [finding] = found(EVERYTHING, sts__get_caller_identity="InvalidClientTokenId")
    assert "credentials" in finding.text


def test_without_a_region_there_is_no_account_to_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert preflight.main(["--settings", "prod"]) == 1
    [line] = [each for each in capsys.readouterr().err.splitlines() if "no region" in each]
    # It names the variable that boto3 reads, which is not the AWS CLI's AWS_REGION.
    variable = line.rpartition(" ")[2]
    monkeypatch.setenv(variable, REGION)
    assert read_deployment("prod").session().region_name == REGION


def test_a_deployment_that_lacks_nothing_is_said_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unread = Finding("KmsKeyArn: you may not read it", fatal=False)
    monkeypatch.setattr(preflight, "findings", lambda _deployment: [unread])
    assert preflight.passes(deployment(""))
    said = capsys.readouterr()
    assert said.out == f"nothing is missing for sd3 in {REGION}\n"
    assert said.err == "not known: KmsKeyArn: you may not read it\n"
