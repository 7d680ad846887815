"""What the template keeps for how long, and protects from being deleted."""

import pytest

from tests.support.factories.template import of_type, resolved, translated


@pytest.mark.parametrize("holding", [{"ProtectsTables"}, set()], ids=["on", "off"])
def test_tables_that_outlive_the_stack_are_protected_and_can_be_restored(holding: set[str]) -> None:
    tables = of_type(translated(), "AWS::DynamoDB::Table")
    kept = {name for name, table in tables.items() if "DeletionPolicy" in table}
    assert kept == {"ClientsTable", "JobsTable", "UsageTable"}
    for name in kept:
        properties = resolved(tables[name]["Properties"], holding)
        assert properties["DeletionProtectionEnabled"] is bool(holding)
        assert properties["PointInTimeRecoverySpecification"] == {
            "PointInTimeRecoveryEnabled": True,
            "RecoveryPeriodInDays": {"Ref": "RecoveryDays"},
        }
