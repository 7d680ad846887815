"""The limiter's item that the benchmark simulates does what DynamoDB does, as moto has it."""

from random import Random
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from benchmarks.rate_limit_item import RateLimitItem
from sd3.adapters.aws import Aws
from sd3.errors import (
    Sd3Error,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamThrottledError,
)
from sd3.upstreams.dispatch import Permit
from tests.support.factories.limiters import STABILITY, Limiters

ERRORS: tuple[Sd3Error | None, ...] = (
    None,
    *[UpstreamFailedError("It broke.")] * 4,
    UpstreamThrottledError("429", retry_after=3),
)


class Both:
    """Has moto and the simulated item do the same, and holds them against each other."""

    def __init__(self, client: Any) -> None:
        self.client, self.simulated = client, RateLimitItem()

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        real, simulated = self.client.get_item(**arguments), self.simulated.get_item()
        item = {name: value for name, value in real.get("Item", {}).items() if name != "id"}
        assert item == simulated["Item"]
        return simulated

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        replies = [self._respond(one, arguments) for one in (self.client, self.simulated)]
        outcomes = [(isinstance(reply, ClientError), self._item(reply)) for reply in replies]
        assert outcomes[0] == outcomes[1]
        if isinstance(replies[0], ClientError):
            raise replies[0]
        return replies[0]

    def _respond(self, client: Any, arguments: dict[str, Any]) -> dict[str, Any] | ClientError:
        try:
            return cast("dict[str, Any]", client.update_item(**arguments))
        except ClientError as error:
            return error

    def _item(self, reply: Any) -> dict[str, Any]:
        failed = isinstance(reply, ClientError)
        item = reply.response.get("Item", {}) if failed else reply.get("Attributes", {})
        return {name: value for name, value in item.items() if name != "id"}


@pytest.mark.parametrize("concurrency", [None, 6])
@pytest.mark.parametrize("seed", range(3))
def test_both_behave_the_same_for_a_fleet(aws: Aws, seed: int, concurrency: int | None) -> None:
    random = Random(seed)  # noqa: S311 - nothing secret
    limiters = Limiters(cast("Any", Both(aws.dynamodb)))
    fleet = [limiters.make(STABILITY, concurrency=concurrency) for _ in range(3)]
    under_way: list[tuple[int, Permit]] = []
    for _ in range(80):
        limiters.now += random.choice([0, 0.01, 0.5, 5, 400])
        process = random.randrange(3)
        if under_way and random.random() < 0.6:
            process, permit = under_way.pop(random.randrange(len(under_way)))
            fleet[process].release(permit, [random.choice(ERRORS)] * len(permit.waits))
            continue
        try:
            patience = random.choice([0, 1, 20])
            permit = fleet[process].acquire(random.randint(1, 16), patience=patience)
            under_way.append((process, permit))
        except UpstreamRateLimitedError:
            continue


def test_an_unknown_expression_raises() -> None:
    with pytest.raises(ValueError, match="understood"):
        RateLimitItem().update_item(
            UpdateExpression="SET next_slot_at = :now",
            ConditionExpression="sounds_like(next_slot_at, :now)",
            ExpressionAttributeValues={":now": {"N": "1"}},
        )
