"""Limiters of several processes on one item in memory."""

from typing import TYPE_CHECKING, cast

import pytest

from benchmarks.rate_limit_item import RateLimitItem
from tests.support.factories.limiters import Limiters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def item() -> RateLimitItem:
    return RateLimitItem()


@pytest.fixture
def limiters(item: RateLimitItem) -> Limiters:
    return Limiters(cast("DynamoDBClient", item))
