"""Budgets, rates, dry runs and usage over HTTP: the functions on moto."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.worker import app as worker_app
from sd3.adapters.aws import Aws
from sd3.errors import ContentPolicyError, UpstreamResponseError
from tests.integration.conftest import ENVIRONMENT, Functions, load_event
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.ports import FakeUpstream


def request_with_limits(
    *, job_id: str, budget: int | None = None, rate: int | None = None, **body: Any
) -> Any:
    """Make a request of a client with these limits; its image costs 30 000 micro-dollars."""
    return limited(load_event("generate", **body), budget, rate, job_id=job_id)


def limited(event: dict[str, Any], budget: int | None, rate: int | None, *, job_id: str) -> Any:
    values = {"client_id": "demo", "scopes": "generate read"}
    limits = {"daily_budget_micros": budget, "requests_per_minute": rate}
    values |= {name: str(limit) for name, limit in limits.items() if limit is not None}
    event["requestContext"] |= {"authorizer": values, "extendedRequestId": job_id}
    return event


def today(functions: Functions, budget: int | None = None) -> dict[str, Any]:
    functions.changes()
    response = functions.jobs(limited(load_event("usage"), budget, None, job_id="u"))
    assert response["statusCode"] == 200
    assert response["headers"]["Cache-Control"] == "no-store"
    found: dict[str, Any] = response["json"]["today"]
    return found


def messages(aws: Aws) -> int:
    values: Any = aws.sqs.get_queue_attributes(
        QueueUrl=ENVIRONMENT["QUEUE_URL"], AttributeNames=["All"]
    )
    kinds = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")
    return sum(int(values["Attributes"][kind]) for kind in kinds)


def test_what_exceeds_the_budget_is_a_402_and_changes_nothing(
    aws: Aws, functions: Functions, upstream: FakeUpstream
) -> None:
    assert functions.generate(request_with_limits(job_id="a", budget=50_000))["statusCode"] == 200
    rejected = functions.generate(request_with_limits(job_id="b", budget=50_000))
    assert (rejected["statusCode"], rejected["json"]["code"]) == (402, "budget_exceeded")
    assert "Retry-After" not in rejected["headers"]
    midnight = datetime.now(UTC).date() + timedelta(days=1)
    assert rejected["json"]["message"] == (
        "This takes $0.03, and of the budget of $0.05 a day $0.02 is left;"
        f" it resets at {midnight}T00:00:00Z."
    )
    assert len(upstream.calls) == 1
    assert aws.dynamodb.scan(TableName="jobs", Select="COUNT")["Count"] == 1
    used = today(functions, 50_000)
    assert (used["cost_usd"], used["reserved_usd"], used["left_usd"]) == (0.03, 0, 0.02)


def test_rejected_requests_do_not_fill_the_queue(aws: Aws, functions: Functions) -> None:
    for number in range(20):
        functions.generate(request_with_limits(job_id=f"j-{number}", rate=1))
    # The job's own, and those of the first rejections: a minute can end between two calls.
    assert messages(aws) <= 4


def test_one_request_too_many_is_a_429_with_retry_after(functions: Functions) -> None:
    responses = [functions.generate(request_with_limits(job_id=f"j-{n}", rate=2)) for n in range(5)]
    assert [response["statusCode"] for response in responses[:2]] == [200, 200]
    rejected = [response for response in responses if response["statusCode"] != 200]
    assert {(one["statusCode"], one["json"]["code"]) for one in rejected} == {(429, "rate_limited")}
    assert all(1 <= int(one["headers"]["Retry-After"]) <= 60 for one in rejected)


@pytest.mark.parametrize(
    ("error", "cost"), [(ContentPolicyError("no"), 0), (UpstreamResponseError("cut off"), 0.03)]
)
def test_an_ended_job_records_possible_charges_and_refunds_the_rest(
    functions: Functions, upstream: FakeUpstream, error: Any, cost: float
) -> None:
    upstream.errors = [error]
    assert functions.generate(request_with_limits(job_id="a", budget=30_000))["statusCode"] != 200
    used = today(functions, 30_000)
    assert (used["cost_usd"], used["reserved_usd"], used["pictures"]) == (cost, 0, 0)


def test_a_queued_job_is_reserved_until_its_worker_settles_it(functions: Functions) -> None:
    event = request_with_limits(job_id="c6Af9ESmIAMEbxg", budget=50_000)
    event["headers"]["Prefer"] = "respond-async"
    assert functions.generate(event)["statusCode"] == 202
    waiting = today(functions, 50_000)
    assert (waiting["cost_usd"], waiting["reserved_usd"], waiting["left_usd"]) == (0, 0.03, 0.02)
    worker_app.handler(load_event("worker"), lambda_context())
    ended = today(functions, 50_000)
    assert (ended["cost_usd"], ended["reserved_usd"], ended["pictures"]) == (0.03, 0, 1)


def test_a_known_key_returns_its_job_when_the_budget_is_used_up(functions: Functions) -> None:
    def repeated(job_id: str) -> Any:
        event = request_with_limits(job_id=job_id, budget=30_000, rate=1)
        event["headers"]["Idempotency-Key"] = "key"
        return functions.generate(event)["json"]

    first = repeated("a")
    assert functions.generate(request_with_limits(job_id="b", budget=30_000))["statusCode"] == 402
    assert repeated("c")["id"] == first["id"] == "a"


def test_a_dry_run_returns_a_quote_and_stores_nothing(
    aws: Aws, functions: Functions, upstream: FakeUpstream
) -> None:
    event = request_with_limits(job_id="a", budget=50_000, rate=1, dry_run=True)
    event["headers"]["Idempotency-Key"] = "key"
    response = functions.generate(event)
    assert (response["statusCode"], response["json"]) == (
        200,
        {
            "dry_run": True,
            "cost_usd": 0.03,
            "upstream": "fake",
            "ignored": [],
            "budget_left_usd": 0.05,
        },
    )
    for table in ("jobs", "usage"):
        assert aws.dynamodb.scan(TableName=table, Select="COUNT")["Count"] == 0
    assert messages(aws) == 0
    assert not upstream.calls


@pytest.mark.parametrize(
    ("body", "status"),
    [({"num_images": 2}, 402), ({"steps": 0}, 422), ({"init_image_id": "f" * 32}, 422)],
)
def test_a_dry_run_is_rejected_like_the_real_request(
    functions: Functions, body: dict[str, Any], status: int
) -> None:
    event = request_with_limits(job_id="a", budget=50_000, dry_run=True, **body)
    assert functions.generate(event)["statusCode"] == status


def test_usage_is_recorded_with_and_without_limits(functions: Functions) -> None:
    functions.generate(request_with_limits(job_id="a", num_images=2))
    functions.changes()
    response = functions.jobs(limited(load_event("usage"), None, None, job_id="u"))["json"]
    date = datetime.now(UTC).date()
    assert response == {
        "client_id": "demo",
        "today": {
            "date": date.isoformat(),
            "pictures": 2,
            "cost_usd": 0.06,
            "reserved_usd": 0,
            "budget_usd": None,
            "left_usd": None,
            "resets_at": f"{date + timedelta(days=1)}T00:00:00.000000Z",
        },
        "last_30_days": {
            "pictures": 2,
            "cost_usd": 0.06,
            "days": [
                {"date": date.isoformat(), "pictures": 2, "cost_usd": 0.06, "reserved_usd": 0}
            ],
        },
    }


def test_a_ledger_that_cannot_be_read_is_a_500(aws: Aws, functions: Functions) -> None:
    aws.dynamodb.delete_table(TableName="usage")
    response = functions.jobs(limited(load_event("usage"), None, None, job_id="u"))
    assert (response["statusCode"], response["json"]["code"]) == (500, "internal_error")
