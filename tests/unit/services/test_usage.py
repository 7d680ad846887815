"""What a client has used and may still use, and what a request would take."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.domain.billing import DailyUsage, UsageEntry, first_day
from sd3.domain.client import JWT_CLIENTS, NO_LIMITS, ClientLimits
from sd3.errors import BudgetExceededError, InvalidRequestError
from sd3.responses.render import usage_response
from tests.support.factories.submissions import caller, request
from tests.support.fakes.ports import NOON, FakeJobs, FakeQueue, FakeUpstream, make_service

BUDGET = ClientLimits(daily_budget_micros=100_000, requests_per_minute=1)
TODAY = DailyUsage("2026-11-23", UsageEntry(reserved=30_000, spent=60_000, images=2))
OLD = DailyUsage("2026-10-25", UsageEntry(spent=1_500_000, images=50))


def test_a_month_is_thirty_days_and_today_is_one() -> None:
    assert first_day(NOON) == "2026-10-25"


def test_usage_is_of_today_and_of_thirty_days() -> None:
    response = usage_response("ann", [TODAY, OLD], limits=BUDGET, now=NOON)
    assert response.model_dump(mode="json") == {
        "client_id": "ann",
        "today": {
            "date": "2026-11-23",
            "pictures": 2,
            "cost_usd": 0.06,
            "reserved_usd": 0.03,
            "budget_usd": 0.1,
            "left_usd": 0.01,
            "resets_at": "2026-11-24T00:00:00.000000Z",
        },
        "last_30_days": {
            "pictures": 52,
            "cost_usd": 1.56,
            "days": [
                {"date": "2026-11-23", "pictures": 2, "cost_usd": 0.06, "reserved_usd": 0.03},
                {"date": "2026-10-25", "pictures": 50, "cost_usd": 1.5, "reserved_usd": 0.0},
            ],
        },
    }


def test_a_client_without_bookings_or_budget_has_nothing_and_no_end() -> None:
    response = usage_response("ann", [], limits=NO_LIMITS, now=NOON)
    assert (response.today.cost_usd, response.today.budget_usd, response.today.left_usd) == (
        0,
        None,
        None,
    )
    assert response.last_30_days.days == []


def test_a_budget_that_was_exceeded_has_nothing_left() -> None:
    day = DailyUsage("2026-11-23", UsageEntry(spent=200_000))
    assert usage_response("ann", [day], limits=BUDGET, now=NOON).today.left_usd == 0


def test_usage_is_the_clients_own_and_not_older() -> None:
    jobs = FakeJobs()
    jobs.ledger = {
        ("ann", "2026-11-23"): UsageEntry(spent=1_000_000),
        ("ann", "2026-10-24"): UsageEntry(spent=5_000_000),
        ("bob", "2026-11-23"): UsageEntry(spent=7_000_000),
    }
    response = make_service(jobs=jobs).get_usage("ann", NO_LIMITS)
    assert (response.today.cost_usd, response.last_30_days.cost_usd) == (1, 1)


class Ignoring(FakeUpstream):
    def ignored(self, _request: Any) -> tuple[str, ...]:
        return ("steps",)


def test_a_dry_run_changes_nothing_and_counts_for_nothing() -> None:
    jobs, queue, upstream = FakeJobs(), FakeQueue(), Ignoring()
    service = make_service(jobs=jobs, queue=queue, upstream=upstream)
    for _ in range(2):
        quote = service.quote(request(num_images=3), client_id="ann", limits=BUDGET)
    assert quote.model_dump() == {
        "dry_run": True,
        "cost_usd": 0.09,
        "upstream": "fake",
        "ignored": ["steps"],
        "budget_left_usd": 0.1,
    }
    assert not any((jobs.items, jobs.ledger, jobs.minutes, queue.sent, upstream.calls))


def test_a_dry_run_over_the_budget_is_an_error() -> None:
    service = make_service()
    limited = caller(key=None)._replace(limits=BUDGET)
    service.generate(request(), limited)
    assert service.quote(request(), client_id="ann", limits=BUDGET).budget_left_usd == 0.07
    with pytest.raises(BudgetExceededError, match=r"takes \$0\.09, .* \$0\.07 is left"):
        service.quote(request(num_images=3), client_id="ann", limits=BUDGET)
    assert service.quote(request(num_images=3), client_id="bob", limits=BUDGET).cost_usd == 0.09


@pytest.mark.parametrize(("spent", "fits"), [(70_000, True), (70_001, False), (200_000, False)])
def test_a_dry_run_over_the_budget_that_clients_share_is_an_error(spent: int, fits: bool) -> None:
    jobs = FakeJobs()
    jobs.ledger[JWT_CLIENTS, "2026-11-23"] = UsageEntry(spent=spent)
    limits = ClientLimits(total_daily_budget_micros=100_000)
    service = make_service(jobs=jobs)
    if fits:
        assert service.quote(request(), client_id="ann", limits=limits).budget_left_usd is None
        return
    with pytest.raises(BudgetExceededError, match="all signed-in users share") as caught:
        service.quote(request(), client_id="ann", limits=limits)
    assert "$" not in caught.value.message


def test_a_dry_run_without_a_budget_reads_nothing() -> None:
    class Closed(FakeJobs):
        def days(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    quote = make_service(jobs=Closed()).quote(request(), client_id="ann", limits=NO_LIMITS)
    assert quote.budget_left_usd is None


def test_a_dry_run_of_an_unsupported_request_is_rejected() -> None:
    with pytest.raises(InvalidRequestError):
        make_service().quote(request(init_image_id="f" * 32), client_id="ann", limits=NO_LIMITS)


def test_a_budget_is_there_again_the_next_day() -> None:
    jobs = FakeJobs()
    jobs.ledger["ann", (NOON - timedelta(days=1)).date().isoformat()] = UsageEntry(spent=100_000)
    assert make_service(jobs=jobs).get_usage("ann", BUDGET).today.left_usd == 0.1
