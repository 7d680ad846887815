"""A jobs table with its indexes, no kinder than DynamoDB: what it may do, it does."""

import re
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any

Item = dict[str, Any]


class IndexedDynamoDB:
    """The calls of DynamoDB that read jobs.

    A query returns the keys of items and no other attribute. Items of one moment come in an order
    of their own. A start key is a place in that order, whether or not there is an item. With `dice`
    a query returns fewer keys than it may, and a batch leaves out some of its items.
    """

    def __init__(self, dice: Random | None = None) -> None:
        self.items: dict[str, Item] = {}
        self.indexed: list[Item] = []
        """What the indexes have seen of the items. An item that changes in `items` alone is one
        whose change has not reached them."""
        self.queries: list[Mapping[str, Any]] = []
        self.batches: list[Mapping[str, Any]] = []
        self._dice = dice

    def put(self, item: Item) -> None:
        self.items[item["id"]["S"]] = item
        self.indexed.append(item)

    def query(self, **query: Any) -> dict[str, Any]:
        self.queries.append(query)
        pattern = r"(\w+) = :shard AND (\w+) BETWEEN :since AND :until"
        condition = re.fullmatch(pattern, query["KeyConditionExpression"])
        assert condition, query
        shard, time = condition.groups()
        values = {name: value["S"] for name, value in query["ExpressionAttributeValues"].items()}

        def place(item: Item) -> tuple[str, bytes]:
            return item[time]["S"], sha256(item["id"]["S"].encode()).digest()

        forward = query["ScanIndexForward"]
        found = [
            {name: item[name] for name in (shard, time, "id")}
            for item in self.indexed
            if item.get(shard) == {"S": values[":shard"]}
            and values[":since"] <= item[time]["S"] <= values[":until"]
        ]
        found.sort(key=place, reverse=not forward)
        if start := query.get("ExclusiveStartKey"):
            assert set(start) == {shard, time, "id"}
            found = [item for item in found if (place(item) > place(start)) is forward]
            found = [item for item in found if place(item) != place(start)]
        limit = self._dice.randint(1, query["Limit"]) if self._dice else query["Limit"]
        more = {"LastEvaluatedKey": found[limit - 1]} if len(found) >= limit else {}
        return {"Items": found[:limit], **more}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803 - botocore's name
        self.batches.append(RequestItems)
        [(table, wanted)] = RequestItems.items()
        keys = wanted["Keys"]
        ids = [key["id"]["S"] for key in keys]
        assert 1 <= len(ids) == len(set(ids)) <= 100
        served = self._dice.randint(1, len(ids)) if self._dice else len(ids)
        found = [self.items[job_id] for job_id in ids[:served] if job_id in self.items]
        left = {table: {**wanted, "Keys": keys[served:]}} if keys[served:] else {}
        return {"Responses": {table: found}, "UnprocessedKeys": left}
