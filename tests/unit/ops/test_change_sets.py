"""The gate before an update, and the run of a change set, by what CloudFormation answers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import boto3
import pytest
from botocore.stub import Stubber

from ops import change_sets
from ops.change_sets import KEPT, Change, create, execute, read_changes, refused
from ops.stacks import StackError
from tests.support.factories.template import source

ARN: Final = "arn:aws:cloudformation:eu-west-1:123456789012:changeSet/deploy/1"
STACK: Final = "arn:aws:cloudformation:eu-west-1:123456789012:stack/sd3/1"
NESTED: Final = "arn:aws:cloudformation:eu-west-1:123456789012:stack/sd3-Monitoring/1"
NOW: Final = datetime.now(UTC)


def entry(action: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    """Make a change as DescribeChangeSet answers it."""
    resource = {"Action": action, "ResourceType": kind, "LogicalResourceId": name, **rest}
    return {"Type": "Resource", "ResourceChange": resource}


def detail(name: str, recreation: str) -> dict[str, Any]:
    target = {"Attribute": "Properties", "Name": name, "RequiresRecreation": recreation}
    return {"Target": target, "Evaluation": "Static", "ChangeSource": "DirectModification"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Stubber]]:
    """Provide a client of CloudFormation, and what answers it."""
    monkeypatch.setattr(change_sets, "_POLL_SECONDS", 0)
    client = boto3.Session("x", "x", region_name="eu-west-1").client("cloudformation")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def test_every_page_of_a_change_set_is_read(aws: tuple[Any, Stubber]) -> None:
    client, stub = aws
    first = [entry("Modify", "AWS::Lambda::Function", "F", Replacement="False")]
    keys = [detail("KeySchema", "Always"), detail("Tags", "Never")]
    second = [entry("Modify", "AWS::DynamoDB::Table", "T", Replacement="True", Details=keys)]
    for page, asked in (
        ({"Changes": first, "NextToken": "2"}, {"ChangeSetName": ARN}),
        ({"Changes": [], "NextToken": "3"}, {"ChangeSetName": ARN, "NextToken": "2"}),
        ({"Changes": second}, {"ChangeSetName": ARN, "NextToken": "3"}),
    ):
        stub.add_response("describe_change_set", page, asked)
    assert list(read_changes(client, ARN)) == [
        Change("Modify", "AWS::Lambda::Function", "F"),
        Change("Modify", "AWS::DynamoDB::Table", "T", "True", ("KeySchema",)),
    ]


@pytest.mark.parametrize("kind", sorted(KEPT))
@pytest.mark.parametrize(
    ("action", "replacement", "lost"),
    [
        ("Add", "False", False),
        ("Modify", "False", False),
        ("Modify", "True", True),
        ("Modify", "Conditional", True),
        ("Remove", "False", True),
        ("Dynamic", "False", True),
        ("Import", "False", False),
    ],
)
def test_what_clients_would_lose_is_refused_unless_it_is_named(
    kind: str, action: str, replacement: str, lost: bool
) -> None:
    change = Change(action, kind, "It", replacement)
    assert refused([change], replaceable=[""]) == ([change] if lost else [])
    assert refused([change], replaceable=["Other", "It"]) == []


def test_what_nobody_would_miss_may_be_replaced() -> None:
    changes = [
        Change("Modify", "AWS::Lambda::Permission", "P", "True"),
        Change("Remove", "AWS::Lambda::Version", "V"),
    ]
    assert refused(changes, replaceable=[]) == []


def test_the_nested_stack_has_nothing_that_would_have_to_be_looked_at() -> None:
    """A change set of the template says nothing of the resources of its nested stack."""
    kinds = {resource["Type"] for resource in source("monitoring.yaml")["Resources"].values()}
    assert not kinds & KEPT


def test_the_reason_of_a_replacement_is_said() -> None:
    change = Change("Modify", "AWS::DynamoDB::Table", "JobsTable", "True", ("KeySchema",))
    assert str(change).endswith("REPLACED because of KeySchema")


def described(status: str, reason: str = "") -> dict[str, Any]:
    return {"Status": status, "StatusReason": reason, "StackId": STACK, "CreationTime": NOW}


def test_a_change_set_is_waited_for(aws: tuple[Any, Stubber]) -> None:
    client, stub = aws
    stub.add_response("create_change_set", {"Id": ARN})
    for status in ("CREATE_PENDING", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"):
        stub.add_response("describe_change_set", described(status))
    assert create(client, "sd3", kind="UPDATE") == ARN


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("The submitted information didn't contain changes.", None),
        ("No updates are to be performed.", None),
        ("Parameters: [X] do not exist in the template", StackError),
    ],
)
def test_a_change_set_that_fails_leaves_nothing(
    aws: tuple[Any, Stubber], reason: str, expected: Any
) -> None:
    client, stub = aws
    stub.add_response("create_change_set", {"Id": ARN})
    stub.add_response("describe_change_set", described("FAILED", reason))
    stub.add_response("delete_change_set", {}, {"ChangeSetName": ARN})
    if expected is None:
        assert create(client, "sd3", kind="UPDATE") is None
    else:
        with pytest.raises(expected, match="do not exist"):
            create(client, "sd3", kind="UPDATE")


def event(name: str, status: str, reason: str, **rest: Any) -> dict[str, Any]:
    return {
        "StackId": STACK,
        "EventId": name,
        "StackName": "sd3",
        "Timestamp": NOW + timedelta(minutes=1),
        "LogicalResourceId": name,
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        **rest,
    }


def stack(status: str) -> dict[str, Any]:
    found = {"StackId": STACK, "StackName": "sd3", "CreationTime": NOW, "StackStatus": status}
    return {"Stacks": [found]}


def test_an_update_is_waited_for(aws: tuple[Any, Stubber]) -> None:
    client, stub = aws
    stub.add_response("describe_change_set", described("CREATE_COMPLETE"))
    stub.add_response("execute_change_set", {}, {"ChangeSetName": ARN})
    for status in ("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"):
        stub.add_response("describe_stacks", stack(status), {"StackName": STACK})
    execute(client, ARN)


def test_an_update_that_was_rolled_back_says_what_failed(aws: tuple[Any, Stubber]) -> None:
    client, stub = aws
    stub.add_response("describe_change_set", described("CREATE_COMPLETE"))
    stub.add_response("execute_change_set", {})
    stub.add_response("describe_stacks", stack("UPDATE_ROLLBACK_COMPLETE"))
    monitoring = {"ResourceType": "AWS::CloudFormation::Stack", "PhysicalResourceId": NESTED}
    events = [
        event("Queue", "UPDATE_FAILED", "cancelled"),
        event("Function", "UPDATE_COMPLETE", ""),
        event("Monitoring", "UPDATE_FAILED", "its own failed", **monitoring),
        event("Old", "UPDATE_FAILED", "last week", Timestamp=NOW - timedelta(days=7)),
    ]
    stub.add_response("describe_stack_events", {"StackEvents": events}, {"StackName": STACK})
    nested = [event("Alarm", "CREATE_FAILED", "too many")]
    stub.add_response("describe_stack_events", {"StackEvents": nested}, {"StackName": NESTED})
    with pytest.raises(StackError) as failure:
        execute(client, ARN)
    assert str(failure.value).splitlines() == [
        "the stack is UPDATE_ROLLBACK_COMPLETE",
        "Queue UPDATE_FAILED: cancelled",
        "Monitoring UPDATE_FAILED: its own failed",
        "Alarm CREATE_FAILED: too many",
    ]
