"""A budget whose items other jobs always have: when a new job is given up."""

from typing import Any, cast

import pytest

from sd3.adapters.dynamodb.budgets import Budgets
from sd3.adapters.dynamodb.table import Table
from sd3.errors import StorageBusyError
from tests.support.fakes.changing_jobs import QUOTE, job
from tests.support.fakes.contended_dynamodb import conflict


class AlwaysMet:
    """Refuses every transaction, since another one has its items; there is no usage yet."""

    def transact_write_items(self, TransactItems: Any) -> None:  # noqa: N803 - botocore's name
        raise conflict([True] * len(TransactItems))

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": []}


def test_a_job_that_meets_others_again_and_again_is_refused_as_busy_after_some_seconds() -> None:
    waits: list[float] = []
    client = cast("Any", AlwaysMet())
    table = Table(client, "usage", sleep=waits.append, jitter=lambda: 0.5)
    with pytest.raises(StorageBusyError, match="too busy"):
        Budgets(table, jitter=lambda: 0.5).reserve(job(quote=QUOTE), {"ann": 90_000}, [])
    assert 1 < sum(waits) < 5
