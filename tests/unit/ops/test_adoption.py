"""make deploy ADOPT=...: a new stack takes the tables and buckets that a deleted one has left."""

from typing import Any, Final

import pytest

from ops import adoption
from ops.adoption import IDENTIFIERS, adopt, reduced
from ops.deployments import ROOT, Deployment
from ops.stacks import StackError
from tests.support.factories.template import references, source

TEMPLATE: Final = ROOT / "template.yaml"
LEFT: Final = {
    name: f"sd3-{name}-1"
    for name, resource in source()["Resources"].items()
    if resource["Type"] in IDENTIFIERS and "DeletionPolicy" in resource
}


def test_everything_that_stays_can_be_a_stack_of_its_own() -> None:
    """CloudFormation imports it before anything else is there that it could refer to."""
    template = reduced(TEMPLATE, LEFT)
    assert set(template["Resources"]) == set(LEFT) > {"ClientsTable", "ImagesBucket"}
    needed = set(references([template["Resources"], template["Conditions"]]))
    assert needed - {"AWS::NoValue"} <= set(template["Parameters"])
    assert "Fn::FindInMap" not in str(template)


@pytest.mark.parametrize("name", ["GenerateFunction", "JobsQueue", "Nothing"])
def test_only_a_table_or_bucket_of_the_template_is_adopted(name: str) -> None:
    with pytest.raises(StackError, match=f"{name} is no table or bucket"):
        reduced(TEMPLATE, {name: "x"})


def test_what_is_left_is_named_to_cloudformation(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}
    ran: list[str] = []

    def record(*_: Any, **settings: Any) -> str:
        sent.update(settings)
        return "arn"

    monkeypatch.setattr(adoption, "create", record)
    monkeypatch.setattr(adoption, "execute", lambda _client, change_set: ran.append(change_set))
    deployment = Deployment(stack="sd3", given={}, declared={}, tags={})
    left = {"ClientsTable": "sd3-ClientsTable-1", "ImagesBucket": "sd3-images-1"}
    adopt(deployment, None, template=TEMPLATE, left=left, RoleARN="arn:role")
    assert (sent["kind"], sent["RoleARN"], ran) == ("IMPORT", "arn:role", ["arn"])
    assert [tuple(each.values()) for each in sent["ResourcesToImport"]] == [
        ("AWS::DynamoDB::Table", "ClientsTable", {"TableName": "sd3-ClientsTable-1"}),
        ("AWS::S3::Bucket", "ImagesBucket", {"BucketName": "sd3-images-1"}),
    ]
