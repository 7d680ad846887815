"""What an update, a deletion and a second deployment of template.yaml leave of the data."""

from typing import Any, Final

import pytest

from tests.support.factories.template import Resources, of_type, references, translated

KEYS: Final = {
    "JobsTable": ["id"],
    "JobsTable.by_client": ["client_shard", "created_at"],
    "JobsTable.failed_by_day": ["failed_shard", "completed_at"],
    "JobsTable.waiting": ["waiting_shard", "waiting_since"],
    "UsageTable": ["client_id", "day"],
    "UpstreamsTable": ["id"],
    "WebhooksTable": ["client_id", "item"],
    "BatchesTable": ["client_id", "item"],
    "ClientsTable": ["token_sha256"],
    "ClientsTable.by_client_id": ["client_id"],
}
"""The keys of every table and index. Never change those of a table: CloudFormation would make a new
table, which starts empty, and no token and no job would be found. docs/deploy.md says how an index
is changed."""

NAMES: Final = {"BucketName", "QueueName", "RoleName", "TableName"}


def keys(resources: Resources) -> dict[str, list[str]]:
    """Return the names of the keys of tables and indexes."""
    found: dict[str, list[str]] = {}
    for name, table in of_type(resources, "AWS::DynamoDB::Table").items():
        parts = {name: table["Properties"]}
        for index in table["Properties"].get("GlobalSecondaryIndexes", []):
            parts[f"{name}.{index['IndexName']}"] = index
        found |= {part: [k["AttributeName"] for k in it["KeySchema"]] for part, it in parts.items()}
    return found


def test_the_keys_of_a_table_never_change() -> None:
    assert keys(translated()) == KEYS


def unrepeatable(resources: Resources) -> list[str]:
    """Return what stays when the stack is deleted, and has a name that its successor would want."""
    return [
        name
        for name, resource in resources.items()
        if "Retain" in str(resource.get("DeletionPolicy"))
        and NAMES & set(resource.get("Properties", {}))
    ]


def test_a_stack_can_be_deleted_and_deployed_again() -> None:
    assert unrepeatable(translated()) == []


def test_a_name_that_is_taken_for_ever_would_be_found() -> None:
    bucket = {"DeletionPolicy": "RetainExceptOnCreate", "Properties": {"BucketName": "inbox"}}
    assert unrepeatable({"Bucket": bucket}) == ["Bucket"]


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
def test_what_clients_have_stored_stays_when_a_stack_is_deleted(kind: str) -> None:
    """A stack that could not be created leaves nothing, so that it can be created again."""
    stored = of_type(translated(), kind)
    stored.pop("UpstreamsTable", None)  # the state of a rate limiter, of seconds
    for resource in stored.values():
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"


def logging(resources: Resources) -> dict[str, dict[str, Any]]:
    return {name: r for name, r in resources.items() if name.startswith("ApiLogs")}


def test_the_accounts_log_role_is_set_only_if_wanted() -> None:
    """All REST APIs of the account use it, also those of other stacks, and after this stack."""
    assert set(logging(translated())) == {"ApiLogsRole", "ApiLogsAccount"}
    for resource in logging(translated()).values():
        assert resource["Condition"] == "ManagesApiLogs"
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    [api] = of_type(translated(), "AWS::ApiGateway::RestApi").values()
    assert set(references(api["Metadata"])) == {"ApiLogsAccount"}  # no stage before it is set
