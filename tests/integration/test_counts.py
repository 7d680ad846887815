"""What is counted of a client in a window of time, on moto."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.counts import ClientCounts
from sd3.domain.client import MAX_WAIT_SECONDS, UPLOADS_PER_MINUTE, ClientLimits
from sd3.errors import RateLimitedError
from tests.support.fakes.ports import NOON


@pytest.fixture
def counts(aws: Aws) -> ClientCounts:
    return ClientCounts(aws.dynamodb, "usage")


def items(aws: Aws) -> list[dict[str, Any]]:
    return [dict(item) for item in aws.dynamodb.scan(TableName="usage")["Items"]]


def test_a_client_may_begin_so_many_waits_in_the_time_of_the_longest(
    aws: Aws, counts: ClientCounts
) -> None:
    def begins(seconds: float, client_id: str = "ann") -> bool:
        return counts.count_wait(client_id, 2, now=NOON + timedelta(seconds=seconds))

    assert [begins(at) for at in (0, 7, 19.9, 19.9)] == [True, True, False, False]
    assert begins(8, "bob")
    assert [begins(MAX_WAIT_SECONDS + at) for at in (0, 1, 2)] == [True, True, False]
    # An item that is kept for ever would be paid for ever.
    assert {int(item["ttl"]["N"]) - NOON.timestamp() for item in items(aws)} <= set(range(300, 340))


def forms(counts: ClientCounts, limits: ClientLimits) -> Callable[[], None]:
    return lambda: counts.count_upload("ann", limits, now=NOON + timedelta(seconds=50))


def test_a_client_without_a_rate_may_have_so_many_forms_a_minute(counts: ClientCounts) -> None:
    ask = forms(counts, ClientLimits())
    for _ in range(UPLOADS_PER_MINUTE):
        ask()
    with pytest.raises(
        RateLimitedError, match="Only 100 uploads and images by URL a minute"
    ) as caught:
        ask()
    assert caught.value.retry_after == 10
    counts.count_upload("ann", ClientLimits(), now=NOON + timedelta(seconds=60))
    counts.count_upload("bob", ClientLimits(), now=NOON)


def test_a_form_is_one_of_the_requests_of_a_client_with_a_rate(
    aws: Aws, counts: ClientCounts
) -> None:
    ask = forms(counts, ClientLimits(requests_per_minute=2))
    ask()
    ask()
    for _ in range(2):
        with pytest.raises(RateLimitedError, match="Only 2 requests a minute"):
            ask()
    [item] = items(aws)
    assert (item["count"], item["uploads"]) == ({"N": "2"}, {"N": "2"})
