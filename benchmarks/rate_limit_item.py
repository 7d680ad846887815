"""Items of a DynamoDB table in memory: the part of UpdateItem that the rate limiters use."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from benchmarks.expressions import holds, updated
from benchmarks.wire import to_values, to_wire


class RateLimitItem:
    """A DynamoDB client whose only table has one item."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        """Integers, maps of integers, and sets of text."""
        self.writes = 0
        """Writes whose condition failed count too: DynamoDB charges the same for them."""
        self.reads = 0

    def get_item(self, **_: object) -> dict[str, Any]:
        """Return the item."""
        self.reads += 1
        return {"Item": to_wire(self.values)}

    def update_item(
        self,
        *,
        UpdateExpression: str,  # noqa: N803 - botocore's names, here and below
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeValues: Mapping[str, Any] | None = None,  # noqa: N803
        **_: object,
    ) -> dict[str, Any]:
        """Write atomically, and return the item as it was before.

        Raises ClientError when the condition does not hold, and ValueError for an expression that
        is not understood.
        """
        self.writes += 1
        given = to_values(ExpressionAttributeValues or {})
        before = to_wire(self.values)
        if not holds(ConditionExpression, self.values, given):
            reply: Any = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": before}
            raise ClientError(reply, "UpdateItem")
        self.values = updated(UpdateExpression, self.values, given)
        return {"Attributes": before}


class RateLimitItems:
    """A DynamoDB client whose only table has the items of the limiters, each by its id."""

    def __init__(self) -> None:
        self.by_id: defaultdict[str, RateLimitItem] = defaultdict(RateLimitItem)

    @property
    def writes(self) -> int:
        """Count the writes to all items."""
        return sum(item.writes for item in self.by_id.values())

    @property
    def reads(self) -> int:
        """Count the reads of all items."""
        return sum(item.reads for item in self.by_id.values())

    def get_item(self, *, Key: Mapping[str, Any], **_: object) -> dict[str, Any]:  # noqa: N803
        """Return an item."""
        return self.by_id[Key["id"]["S"]].get_item()

    def update_item(self, *, Key: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:  # noqa: N803
        """Write to an item, as RateLimitItem does."""
        return self.by_id[Key["id"]["S"]].update_item(**arguments)
