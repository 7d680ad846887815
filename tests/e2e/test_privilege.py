"""Least privilege on the deployed stack: what each function's role may do and what not.

Beside the refusals stand the calls that the same credentials are let through with: without them a
refusal would prove nothing.
"""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any, Final

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

from local.stack import Stack
from ops.stacks import STACK_NAME
from tests.support.factories.role_calls import Attempt, attempts
from tests.support.privileges import GRANTS, LOGS, may

REFUSED: Final = frozenset(("AccessDenied", "AccessDeniedException"))

UNTRIED: Final = {("dynamodb:GetRecords", "JobsTable/stream")}
"""Its request does not name the stream, and MiniStack does not find it: the table of privileges is
held against the policy alone."""

READS: Final = re.compile(r":(Describe|Encrypt|Get|List|Query|Receive|Scan)")

Clients = Callable[[str], Any]


@pytest.fixture(scope="module")
def names(stack: Stack) -> dict[str, str]:
    """Physical names: of the stack's resources, and of others that are nobody's."""
    client = stack.deployed.client
    pages = client("cloudformation").get_paginator("list_stack_resources")
    found = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=STACK_NAME)
        for resource in page["StackResourceSummaries"]
    }
    for function in GRANTS:
        expected = client("lambda").get_function_configuration(FunctionName=found[function])
        found[f"{function}Role"] = expected["Role"]
    expected = client("dynamodb").describe_table(TableName=found["JobsTable"])
    found["JobsTable/stream"] = expected["Table"]["LatestStreamArn"]
    expected = client("secretsmanager").describe_secret(SecretId="upstream")
    return found | {"UpstreamSecretArn": expected["ARN"]} | others(client)


def others(client: Clients) -> dict[str, str]:
    """Make one of each kind that no function has to do with."""
    name = "another"
    client("s3").create_bucket(Bucket=name)
    client("logs").create_log_group(logGroupName=name)
    client("events").create_event_bus(Name=name)
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    secret = client("secretsmanager").create_secret(Name=name, SecretString="a secret")
    return {
        "AnotherBucket": name,
        "AnotherLogGroup": name,
        "AnotherTable": name,
        "AnotherSecret": secret["ARN"],
        "AnotherKey": client("kms").create_key()["KeyMetadata"]["KeyId"],
        "AnotherQueue": client("sqs").create_queue(QueueName=name)["QueueUrl"],
    }


def clients(stack: Stack, role_arn: str) -> Clients:
    """Return clients with the credentials of a role: MiniStack lets root assume Lambda's roles."""
    sts = stack.deployed.client("sts")
    created = sts.assume_role(RoleArn=role_arn, RoleSessionName="probe")["Credentials"]
    session: Any = boto3.Session(
        created["AccessKeyId"],
        created["SecretAccessKey"],
        created["SessionToken"],
        region_name=stack.aws["AWS_DEFAULT_REGION"],
    )
    config = Config(proxies={}, retries={"total_max_attempts": 1})
    return cache(partial(session.client, endpoint_url=stack.aws["AWS_ENDPOINT_URL"], config=config))


def is_let_through(client: Clients, attempt: Attempt) -> bool:
    """Make the call; raises any error but AccessDenied and the expected one."""
    service, operation = attempt.call
    try:
        getattr(client(service), xform_name(operation))(**attempt.arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSED:
            return False
        if code != attempt.let_through:
            raise
    return True


@pytest.mark.parametrize("function", GRANTS)
def test_a_role_is_let_through_where_it_must_be_and_nowhere_else(
    stack: Stack, names: dict[str, str], function: str
) -> None:
    client = clients(stack, names[f"{function}Role"])
    role = names[f"{function}Role"].rpartition("/")[2]
    assert client("sts").get_caller_identity()["Arn"].split("/")[1] == role
    tried = {(a.action, a.resource): is_let_through(client, a) for a in attempts(names)}
    assert tried == {(action, name): may(function, action, name) for action, name in tried}
    assert {*tried.values()} == {True, False}


def test_all_that_a_function_may_do_is_tried(names: dict[str, str]) -> None:
    tried = {(attempt.action, attempt.resource) for attempt in attempts(names)}
    granted = {
        (action, name)
        for grants in (LOGS, *GRANTS.values())
        for name, actions in grants.items()
        for action in actions
    }
    matched = {
        (action, pattern)
        for action, pattern in granted
        if any(action == a and fnmatchcase(name, pattern) for a, name in tried)
    }
    assert granted - matched == UNTRIED


def test_root_may_read_what_the_roles_may_not(stack: Stack, names: dict[str, str]) -> None:
    """The denied calls are valid, and their resources exist."""
    reads = [attempt for attempt in attempts(names) if READS.search(attempt.action)]
    assert len(reads) > 40
    assert all(is_let_through(stack.deployed.client, attempt) for attempt in reads)
