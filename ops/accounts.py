"""What a deployment needs of an AWS account: checks that read, and make nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from botocore.exceptions import ClientError

from ops.deployments import Deployment
from sd3.domain.signing_certificate import SigningCertificate

_CONSUMERS: Final = ("WorkerConcurrency", "BatchConcurrency", "WebhookConcurrency")
"""How many executions the queues take of what is not reserved, if they have enough messages."""

SPARE_CONCURRENCY: Final = 4
"""So that clients are answered while all queues are full: a quota of 10 is enough for the least."""

MIN_UNRESERVED: Final = 100
"""Lambda reserves nothing that would leave an account less than this."""

_RESERVED: Final = "ReservedConcurrency"


@dataclass(frozen=True)
class Account:
    """The account as a deployment finds it. Every call reads only."""

    deployment: Deployment
    client: Callable[..., Any]
    """boto3's `client(service, region_name=...)`"""
    region: str

    @cached_property
    def values(self) -> Mapping[str, str]:
        """The values of all parameters."""
        return self.deployment.parameters()

    def stack(self) -> dict[str, Any] | None:
        """Return the stack's description, or None if there is no stack of its name."""
        return described_stack(self.client("cloudformation"), self.deployment.stack)


def described_stack(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """Return the description of a stack, or None if there is none."""
    try:
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return dict(stack)


# ---- Checks: each yields what is missing, and raises botocore's errors ---------------------------


def _stack(account: Account) -> Iterator[str]:
    stack = account.stack()
    status = stack["StackStatus"] if stack else ""
    name = account.deployment.stack
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        yield f"the stack {name} is {status}: wait until that has ended"
    elif status == "UPDATE_ROLLBACK_FAILED":
        yield f"the stack {name} is {status}: aws cloudformation continue-update-rollback"
    elif status == "UPDATE_FAILED":
        yield f"the stack {name} is {status}: aws cloudformation rollback-stack --stack-name {name}"
    elif status == "ROLLBACK_COMPLETE" or status.endswith("_FAILED"):
        yield f"the stack {name} is {status}: aws cloudformation delete-stack --stack-name {name}"


def _concurrency(account: Account) -> Iterator[str]:
    quota = account.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    reserved = sum(int(v) for name, v in account.values.items() if name.endswith(_RESERVED))
    queues = sum(int(account.values[name]) for name in _CONSUMERS)
    if quota < queues + reserved + SPARE_CONCURRENCY:
        yield (
            f"Lambda runs {quota} functions at once in this account: {queues} for queues, "
            f"{reserved} reserved and {SPARE_CONCURRENCY} others do not fit. Lower "
            f"{', '.join(_CONSUMERS)}, or ask for more of the quota L-B99A9384"
        )
    elif reserved and quota - reserved < MIN_UNRESERVED:
        yield (
            f"Lambda reserves {reserved} of {quota} executions only if {MIN_UNRESERVED} are left: "
            f"set the parameters ...{_RESERVED} to 0, or ask for more of the quota L-B99A9384"
        )


def _upstream_secret(account: Account) -> Iterator[str]:
    yield from _secret(account, "UpstreamSecretArn")


def _signing_secret(account: Account) -> Iterator[str]:
    missing = list(_secret(account, "C2paSecretArn"))
    yield from missing
    arn = account.values["C2paSecretArn"]
    if not arn or missing:
        return
    text = account.client("secretsmanager").get_secret_value(SecretId=arn).get("SecretString", "")
    try:
        found = SigningCertificate.from_secret(text)
    except ValueError as error:
        yield f"the secret of C2paSecretArn cannot sign images: {error}. See docs/c2pa.md"
        return
    if not found.valid_from <= datetime.now(UTC) < found.valid_until:
        yield (
            f"the certificate of C2paSecretArn is valid from {found.valid_from:%Y-%m-%d} to "
            f"{found.valid_until:%Y-%m-%d}: put another one into the secret"
        )


def _secret(account: Account, parameter: str) -> Iterator[str]:
    arn = account.values[parameter]
    if not arn:
        return
    if f":{account.region}:" not in arn:
        yield f"{parameter} is not of the stack's region {account.region}: {arn}"
        return
    secret = _find(
        account.client("secretsmanager").describe_secret,
        {"ResourceNotFoundException", "ValidationException"},
        SecretId=arn,
    )
    if secret is None or "DeletedDate" in secret:
        yield f"there is no secret {arn}, or it is to be deleted: aws secretsmanager create-secret"
        return
    key = secret.get("KmsKeyId", "").rpartition("/")[2]
    if key not in {"", "secretsmanager"} and not any(key in v for v in account.values.values()):
        yield f"the functions may not use the KMS key of the secret: name {secret['KmsKeyId']}"


def _bedrock(account: Account) -> Iterator[str]:
    model, region = account.values["BedrockModelId"], account.values["BedrockRegion"]
    asked = "bedrock" in account.values["Upstream"].split(",")
    if not asked or ":provisioned-model/" in model:  # that one is bought, so it is there
        return
    bedrock = account.client("bedrock", region_name=region)
    absent = {"ResourceNotFoundException", "ValidationException"}
    details = _find(bedrock.get_foundation_model, absent, modelIdentifier=model)
    if details is None:
        profile = _find(bedrock.get_inference_profile, absent, inferenceProfileIdentifier=model)
        if profile is None or profile["status"] != "ACTIVE":
            yield f"Bedrock has no model or inference profile {model} in {region}"
        return
    if details["modelDetails"].get("modelLifecycle", {}).get("status", "ACTIVE") != "ACTIVE":
        yield f"{model} is legacy in {region}, and new customers do not get it: choose another"
    access = bedrock.get_foundation_model_availability(modelId=model.rpartition("/")[2])
    if access["authorizationStatus"] != "AUTHORIZED" or access["regionAvailability"] != "AVAILABLE":
        yield f"this account may not use {model} in {region}: ask for access in Bedrock's console"


def _key(account: Account) -> Iterator[str]:
    arn = account.values["KmsKeyArn"]
    if not arn:
        return
    found = _find(account.client("kms").describe_key, {"NotFoundException"}, KeyId=arn)
    if f":{account.region}:" not in arn or found is None:
        yield f"there is no key {arn} in the stack's region {account.region}"
    elif found["KeyMetadata"]["KeyState"] != "Enabled":
        yield f"the key {arn} is {found['KeyMetadata']['KeyState']}: aws kms enable-key"


def _topic(account: Account) -> Iterator[str]:
    arn = account.values["AlarmTopicArn"]
    if not arn:
        return
    absent = {"NotFound", "NotFoundException", "InvalidParameter"}
    found = _find(account.client("sns").get_topic_attributes, absent, TopicArn=arn)
    if found is None:
        yield f"there is no topic {arn} in {account.region}: aws sns create-topic"
    elif found["Attributes"].get("KmsMasterKeyId") == "alias/aws/sns":
        yield f"alarms cannot write to {arn}: CloudWatch may not use its key, alias/aws/sns"


def _bus(account: Account) -> Iterator[str]:
    name = account.values["EventBusName"]
    find = account.client("events").describe_event_bus
    if _find(find, {"ResourceNotFoundException"}, Name=name) is None:
        yield f"there is no bus {name} in {account.region}: aws events create-event-bus"


def _boundary(account: Account) -> Iterator[str]:
    if arn := account.values["PermissionsBoundaryArn"]:
        find = account.client("iam").get_policy
        if _find(find, {"NoSuchEntity"}, PolicyArn=arn) is None:
            yield f"there is no policy {arn}: see PermissionsBoundaryArn"


def _web_acl(account: Account) -> Iterator[str]:
    if arn := account.values["WebAclArn"]:
        find = account.client("wafv2").get_web_acl
        absent = {"WAFNonexistentItemException", "WAFInvalidParameterException"}
        if _find(find, absent, ARN=arn) is None:
            yield f"there is no web ACL {arn} in {account.region}: see WebAclArn"


def _network(account: Account) -> Iterator[str]:
    if not account.values["SubnetIds"]:
        return
    ec2 = account.client("ec2")
    subnets = account.values["SubnetIds"].split(",")
    groups = account.values["SecurityGroupIds"].split(",")
    if _find(ec2.describe_subnets, {"InvalidSubnetID.NotFound"}, SubnetIds=subnets) is None:
        yield f"there are no such subnets in {account.region}: SubnetIds={','.join(subnets)}"
    if _find(ec2.describe_security_groups, {"InvalidGroup.NotFound"}, GroupIds=groups) is None:
        yield f"there are no such groups in {account.region}: SecurityGroupIds={','.join(groups)}"


def _domain(account: Account) -> Iterator[str]:
    domain, arn = account.values["DomainName"], account.values["CertificateArn"]
    if not (domain and arn):
        return
    absent = {"ResourceNotFoundException", "InvalidArnException"}
    found = _find(account.client("acm").describe_certificate, absent, CertificateArn=arn)
    certificate = found["Certificate"] if found else {}
    names = {certificate.get("DomainName"), *certificate.get("SubjectAlternativeNames", [])}
    if certificate.get("Status") != "ISSUED":
        yield f"there is no issued certificate {arn} in the stack's region {account.region}"
    elif not {domain, "*." + domain.partition(".")[2]} & names:
        yield f"the certificate {arn} is not for {domain}"
    if zone := account.values["HostedZoneId"]:
        hosted = _find(account.client("route53").get_hosted_zone, {"NoSuchHostedZone"}, Id=zone)
        if hosted is None or not f".{domain}.".endswith(f".{hosted['HostedZone']['Name']}"):
            yield f"HostedZoneId {zone} is not the zone of {domain}"


def _log_role(account: Account) -> Iterator[str]:
    role = account.client("apigateway").get_account().get("cloudwatchRoleArn", "")
    name = role.rpartition("/")[2]
    if name and _find(account.client("iam").get_role, {"NoSuchEntity"}, RoleName=name) is None:
        name = ""
    if account.values["ManageApiLogs"] != "true":
        if not name:
            yield "API Gateway has no role for logs in this region: set ManageApiLogs=true"
    elif name and name != _own_log_role(account):
        yield (
            f"API Gateway writes the logs of this region with the role {name}, which is not this "
            "stack's: set ManageApiLogs=false, and the stack uses it too"
        )


def _own_log_role(account: Account) -> str:
    if account.stack() is None:
        return ""
    try:
        resource = account.client("cloudformation").describe_stack_resource(
            StackName=account.deployment.stack, LogicalResourceId="ApiLogsRole"
        )
    except ClientError as error:
        if "does not exist" in str(error):
            return ""
        raise
    return str(resource["StackResourceDetail"].get("PhysicalResourceId", ""))


def _find(call: Callable[..., Any], absent: set[str], **parameters: Any) -> dict[str, Any] | None:
    """Call AWS; return None if it answers that there is no such thing."""
    try:
        return dict(call(**parameters))
    except ClientError as error:
        if error.response["Error"]["Code"] in absent:
            return None
        raise


CHECKS: Final[dict[str, Callable[[Account], Iterator[str]]]] = {
    "the stack": _stack,
    "Lambda's concurrency": _concurrency,
    "UpstreamSecretArn": _upstream_secret,
    "C2paSecretArn": _signing_secret,
    "the model on Bedrock": _bedrock,
    "KmsKeyArn": _key,
    "AlarmTopicArn": _topic,
    "EventBusName": _bus,
    "PermissionsBoundaryArn": _boundary,
    "WebAclArn": _web_acl,
    "SubnetIds": _network,
    "DomainName": _domain,
    "the account's log role": _log_role,
}
"""The checks, by what they look at."""
