"""What the template keeps for how long, and protects from being deleted."""

import pytest

from tests.support.factories.template import ROOT, of_type, resolved, translated


def test_the_page_of_deployments_names_what_a_deleted_stack_leaves() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    deleted = page.partition("## Delete\n")[2].partition("## Deploy again")[0]
    adopted = page.partition('ADOPT="')[2].partition('"')[0]
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        for name, resource in of_type(translated(), kind).items():
            if "DeletionPolicy" in resource:
                assert f"`{name}`" in deleted
                assert f"{name}=" in adopted


@pytest.mark.parametrize("holding", [{"ProtectsTables"}, set()], ids=["on", "off"])
def test_tables_that_outlive_the_stack_are_protected_and_can_be_restored(holding: set[str]) -> None:
    tables = of_type(translated(), "AWS::DynamoDB::Table")
    kept = {name for name, table in tables.items() if "DeletionPolicy" in table}
    assert kept == {"ClientsTable", "JobsTable", "UsageTable", "WebhooksTable", "BatchesTable"}
    for name in kept:
        properties = resolved(tables[name]["Properties"], holding)
        assert properties["DeletionProtectionEnabled"] is bool(holding)
        assert properties["PointInTimeRecoverySpecification"] == {
            "PointInTimeRecoveryEnabled": True,
            "RecoveryPeriodInDays": {"Ref": "RecoveryDays"},
        }
