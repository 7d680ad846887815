"""What a change set of CloudFormation would do to a stack, and how it is run."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from ops.stacks import StackError

KEPT: Final = frozenset(
    (
        "AWS::ApiGateway::RestApi",
        "AWS::DynamoDB::Table",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
    )
)
"""Kinds of resources that a client would miss: a new one has another address, or is empty."""

_DONE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
_POLL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Change:
    """One resource that a change set would change."""

    action: str
    kind: str
    logical_id: str
    replacement: str = "False"
    causes: tuple[str, ...] = ()
    """Properties that ask for another resource."""

    @property
    def is_loss(self) -> bool:
        """Return whether the stack may come to have another resource instead, or none."""
        replaced = self.replacement in {"True", "Conditional"}
        return self.kind in KEPT and (self.action in {"Remove", "Dynamic"} or replaced)

    def __str__(self) -> str:
        """Write the change on one line."""
        cause = f" because of {', '.join(self.causes)}" if self.causes else ""
        how = {"True": ", REPLACED", "Conditional": ", perhaps REPLACED"}.get(self.replacement, "")
        return f"{self.action} {self.logical_id} ({self.kind}){how}{cause if how else ''}"


def read_changes(cloudformation: Any, change_set: str) -> Iterator[Change]:
    """Yield all changes of a change set, page by page."""
    page: dict[str, Any] = {}
    while page.get("NextToken") or not page:
        following = {"NextToken": page["NextToken"]} if page else {}
        page = cloudformation.describe_change_set(ChangeSetName=change_set, **following)
        for entry in page.get("Changes", []):
            yield _change(entry["ResourceChange"])


def _change(resource: Mapping[str, Any]) -> Change:
    causes = {
        target.get("Name") or target["Attribute"]
        for target in (detail["Target"] for detail in resource.get("Details", []))
        if target.get("RequiresRecreation", "Never") != "Never"
    }
    return Change(
        action=resource["Action"],
        kind=resource["ResourceType"],
        logical_id=resource["LogicalResourceId"],
        replacement=resource.get("Replacement", "False"),
        causes=tuple(sorted(causes)),
    )


def refused(changes: Iterable[Change], *, replaceable: Collection[str]) -> list[Change]:
    """Return the changes that lose a table, bucket or API which is not named as replaceable."""
    return [change for change in changes if change.is_loss and change.logical_id not in replaceable]


def create(cloudformation: Any, stack: str, *, kind: str, **settings: Any) -> str | None:
    """Make a change set and return its ARN, or None when it would change nothing.

    `kind` is CREATE, UPDATE or IMPORT, and `settings` are those of CreateChangeSet. Raises
    StackError when it cannot be made.
    """
    created = cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName=f"deploy-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        ChangeSetType=kind,
        **settings,
    )
    found = _wait(
        lambda: cloudformation.describe_change_set(ChangeSetName=created["Id"]),
        lambda found: found["Status"] in {"CREATE_COMPLETE", "FAILED"},
    )
    if found["Status"] == "CREATE_COMPLETE":
        return str(created["Id"])
    cloudformation.delete_change_set(ChangeSetName=created["Id"])
    reason = found.get("StatusReason", "")
    if "didn't contain changes" in reason or "No updates are to be performed" in reason:
        return None
    raise StackError(f"CloudFormation refuses the change: {reason}")


def execute(cloudformation: Any, change_set: str) -> None:
    """Run a change set to its end. Raises StackError, with what failed."""
    made = cloudformation.describe_change_set(ChangeSetName=change_set)
    stack_id = made["StackId"]
    cloudformation.execute_change_set(ChangeSetName=change_set)
    stack = _wait(
        lambda: cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0],
        lambda stack: not stack["StackStatus"].endswith("_IN_PROGRESS"),
    )
    if stack["StackStatus"] not in _DONE:
        failures = list(failed_events(cloudformation, stack_id, since=made["CreationTime"]))
        raise StackError("\n".join([f"the stack is {stack['StackStatus']}", *failures]))


def failed_events(cloudformation: Any, stack_id: str, *, since: datetime) -> Iterator[str]:
    """Yield what failed in a stack and its nested stacks since a time, the first failure last."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    for event in (event for page in pages for event in page["StackEvents"]):
        if event["Timestamp"] < since:
            return
        if not event["ResourceStatus"].endswith("_FAILED"):
            continue
        yield (
            f"{event['LogicalResourceId']} {event['ResourceStatus']}: "
            f"{event.get('ResourceStatusReason', '')}"
        )
        nested = event.get("PhysicalResourceId", "")
        if event["ResourceType"] == "AWS::CloudFormation::Stack" and nested not in {"", stack_id}:
            try:
                yield from failed_events(cloudformation, nested, since=since)
            except ClientError:
                continue  # it is gone already, and its parent's events say that it failed


def _wait(look: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    while not done(found := look()):
        time.sleep(_POLL_SECONDS)
    return found
