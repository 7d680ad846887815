"""Budgets and rate limits of clients on the deployed stack."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import requests

from local.stack import Stack
from tests.support.operator import Api, Operator, outcome
from tests.support.polling import wait_for

PRICE: Final = 0.03
"""Of a sketch with 30 steps."""


def today(api: Api, token: str) -> dict[str, Any]:
    response = api.get(token, "/usage")
    assert outcome(response) == (200, None)
    found: dict[str, Any] = response.json()["today"]
    return found


def recorded(api: Api, token: str, **expected: float) -> dict[str, Any]:
    """Return today's usage once the stream is recorded and these fields are as expected."""
    return wait_for(
        lambda: used if expected.items() <= (used := today(api, token)).items() else None,
        what=f"usage with {expected}",
    )


@contextmanager
def resting_worker(stack: Stack) -> Iterator[None]:
    """Have nobody read the queue, so that its jobs wait."""
    functions = stack.deployed.client("lambda")
    mapping = stack.deployed.resource("WorkerMessages")
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping, Enabled=True)


def test_a_budget_is_enforced_and_reports_what_is_left_and_when_it_resets(
    operator: Operator, api: Api
) -> None:
    token = operator.token("thrifty", BUDGET="0.05")
    assert outcome(api.generate(token)) == (200, None)
    rejected = api.generate(token)
    assert outcome(rejected) == (402, "budget_exceeded")
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0) + timedelta(days=1)
    message = rejected.json()["message"]
    assert "takes $0.03" in message
    assert "$0.02 is left" in message
    assert f"{midnight:%Y-%m-%dT%H:%M:%SZ}" in message
    assert outcome(api.generate(token, steps=20)) == (200, None)
    assert recorded(api, token, pictures=2) == {
        "date": datetime.now(UTC).date().isoformat(),
        "pictures": 2,
        "cost_usd": 0.05,
        "reserved_usd": 0,
        "budget_usd": 0.05,
        "left_usd": 0,
        "resets_at": f"{midnight:%Y-%m-%d}T00:00:00.000000Z",
    }


def test_what_fails_without_a_charge_is_refunded(operator: Operator, api: Api) -> None:
    token = operator.token("refunded", BUDGET="0.05")
    assert outcome(api.generate(token, prompt="sketch-forbidden")) == (400, "content_policy")
    recorded(api, token, left_usd=0.05)
    assert outcome(api.generate(token)) == (200, None)


def test_a_dry_run_returns_the_price_and_costs_nothing(operator: Operator, api: Api) -> None:
    token = operator.token("asking", BUDGET="0.05", PER_MINUTE="1")
    for _ in range(3):
        response = api.generate(token, dry_run=True)
        assert (response.status_code, response.json()) == (
            200,
            {
                "dry_run": True,
                "cost_usd": PRICE,
                "upstream": "octoai",
                "ignored": [],
                "budget_left_usd": 0.05,
            },
        )
    assert outcome(api.generate(token, dry_run=True, num_images=2)) == (402, "budget_exceeded")
    assert outcome(api.generate(token, dry_run=True, steps=0)) == (422, "validation_error")
    assert api.get(token, "/jobs").json()["jobs"] == []
    assert outcome(api.generate(token)) == (200, None)


def test_a_queued_jobs_reservation_is_settled_when_it_ends(
    operator: Operator, api: Api, stack: Stack
) -> None:
    token = operator.token("waiting", BUDGET="1")
    with resting_worker(stack):
        generated, canceled = (
            api.generate(token, prefer="respond-async").json()["id"] for _ in range(2)
        )
        waiting = today(api, token)
        assert (waiting["cost_usd"], waiting["reserved_usd"]) == (0, 2 * PRICE)
        assert waiting["left_usd"] == pytest.approx(1 - 2 * PRICE)
        assert outcome(api.post(token, f"/jobs/{canceled}/cancel")) == (200, None)
        recorded(api, token, reserved_usd=PRICE)
    wait_for(
        lambda: api.get(token, f"/jobs/{generated}").json()["status"] == "succeeded", what="picture"
    )
    recorded(api, token, cost_usd=PRICE, reserved_usd=0, pictures=1)


def test_a_client_over_its_rate_gets_a_retry_after(operator: Operator, api: Api) -> None:
    token = operator.token("hasty", PER_MINUTE="2")
    responses = [api.generate(token) for _ in range(5)]  # a minute can end between two of them
    assert [outcome(response) for response in responses[:2]] == [(200, None)] * 2
    rejected = [response for response in responses[2:] if not response.ok]
    assert {outcome(response) for response in rejected} == {(429, "rate_limited")}
    assert all(1 <= int(response.headers["Retry-After"]) <= 60 for response in rejected)
    assert outcome(api.get(token, "/usage")) == (200, None)


def test_requests_at_once_never_exceed_a_budget(operator: Operator, api: Api, stack: Stack) -> None:
    token = operator.token("eager", BUDGET="0.10")

    def generate(_: int) -> tuple[int, str | None]:
        with requests.Session() as http:
            http.trust_env = False
            return outcome(Api(stack, http).generate(token))

    with ThreadPoolExecutor(10) as threads:
        responses = Counter(threads.map(generate, range(10)))
    assert responses == {(200, None): 3, (402, "budget_exceeded"): 7}
    recorded(api, token, cost_usd=0.09, reserved_usd=0, pictures=3)


def test_a_client_without_limits_is_recorded_too(new_token: Any, api: Api) -> None:
    token = new_token()
    assert outcome(api.generate(token, num_images=2)) == (200, None)
    used = recorded(api, token, cost_usd=2 * PRICE, reserved_usd=0, pictures=2)
    assert (used["budget_usd"], used["left_usd"]) == (None, None)
