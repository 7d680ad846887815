"""make smoke on the deployed stack: every way in works, and nothing of it stays."""

from local.stack import Stack
from ops.smoke import CLIENT, STEPS
from tests.support.operator import Operator


def test_each_step_works_and_leaves_nothing_behind(stack: Stack, operator: Operator) -> None:
    lines = operator.make("smoke")
    assert [line[:17].split() for line in lines] == [["ok", *step.name.split()] for step in STEPS]
    outputs, s3 = stack.deployed.outputs(), stack.deployed.client("s3")
    for bucket in ("InboxBucket", "ImagesBucket"):
        found = s3.list_objects_v2(Bucket=outputs[bucket], Prefix=f"{CLIENT}/")
        assert found["KeyCount"] == 0
    [token] = [token for token in stack.deployed.tokens().all() if token.client_id == CLIENT]
    assert token.revoked_at
