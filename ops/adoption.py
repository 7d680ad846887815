"""Takes the tables and buckets that a deleted stack has left into a new one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cfnlint.decode

from ops.change_sets import create, execute
from ops.deployments import Deployment
from ops.stacks import StackError

IDENTIFIERS: Final = {"AWS::DynamoDB::Table": "TableName", "AWS::S3::Bucket": "BucketName"}
"""The property that names a resource, by its kind."""


def adopt(
    deployment: Deployment,
    cloudformation: Any,
    *,
    template: Path,
    left: Mapping[str, str],
    **settings: str,
) -> None:
    """Make a stack of nothing but what is left, which then is updated: no change set does both.

    `left` has the names of tables and buckets by their logical ids, and `settings` are those of
    CreateChangeSet. Raises StackError.
    """
    body = reduced(template, left)
    change_set = create(
        cloudformation,
        deployment.stack,
        kind="IMPORT",
        TemplateBody=json.dumps(body),
        Parameters=deployment.sent_parameters(),
        ResourcesToImport=[
            {
                "ResourceType": resource["Type"],
                "LogicalResourceId": logical_id,
                "ResourceIdentifier": {IDENTIFIERS[resource["Type"]]: left[logical_id]},
            }
            for logical_id, resource in body["Resources"].items()
        ],
        **settings,
    )
    if change_set:
        execute(cloudformation, change_set)


def reduced(template: Path, kept: Mapping[str, str]) -> dict[str, Any]:
    """Return the template with only these resources. Raises StackError when it has others."""
    decoded, _ = cfnlint.decode.decode(str(template))
    whole: dict[str, Any] = json.loads(json.dumps(decoded, default=str))
    for name in kept:
        if whole["Resources"].get(name, {}).get("Type") not in IDENTIFIERS:
            raise StackError(f"{name} is no table or bucket of the template")
    parts = {name: whole[name] for name in ("AWSTemplateFormatVersion", "Parameters", "Conditions")}
    return parts | {"Resources": {name: whole["Resources"][name] for name in kept}}
