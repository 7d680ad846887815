"""Limiters of several processes on items in memory."""

from typing import TYPE_CHECKING, cast

import pytest

from benchmarks.rate_limit_item import RateLimitItem, RateLimitItems
from tests.support.factories.limiters import Limiters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def items() -> RateLimitItems:
    return RateLimitItems()


@pytest.fixture
def item(items: RateLimitItems) -> RateLimitItem:
    """Provide the upstream's own item, which is the only one unless its bounds are high."""
    return items.by_id["fake"]


@pytest.fixture
def limiters(items: RateLimitItems) -> Limiters:
    return Limiters(cast("DynamoDBClient", items))
