"""Rejections of requests over the limits, and how long they are cached."""

from datetime import timedelta

import pytest

from sd3.adapters.dynamodb.rejections import RejectionCache
from sd3.domain.billing import budget_exceeded, rate_limited
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.errors import BudgetExceededError, RateLimitedError
from tests.support.fakes.ports import NOON

LIMITS = ClientLimits(daily_budget_micros=50_000, requests_per_minute=2)
SHARED = ClientLimits(total_daily_budget_micros=50_000)


def test_a_budget_error_has_what_is_left_and_when_it_resets() -> None:
    rejected = budget_exceeded(30_000, LIMITS, left=20_000, now=NOON)
    assert rejected.message == (
        "This takes $0.03, and of the budget of $0.05 a day $0.02 is left;"
        " it resets at 2026-11-24T00:00:00Z."
    )


def test_what_was_exceeded_by_unknown_charges_has_nothing_left() -> None:
    assert "$0.00 is left" in budget_exceeded(1, LIMITS, left=-5, now=NOON).message


def test_a_rate_limit_error_has_the_seconds_until_the_next_minute() -> None:
    rejected = rate_limited(LIMITS, now=NOON + timedelta(seconds=59.5))
    assert isinstance(rejected, RateLimitedError)
    assert (rejected.retry_after, rejected.status) == (0.5, 429)
    assert "2 requests a minute" in rejected.message


def budget_rejected() -> RejectionCache:
    rejections = RejectionCache()
    rejections.note_budget("ann", 30_000, left=20_000, now=NOON)
    return rejections


@pytest.mark.parametrize(
    ("client_id", "micros", "seconds", "limits", "is_refused"),
    [
        ("ann", 30_000, 0, LIMITS, True),
        ("ann", 60_000, 4.9, LIMITS, True),
        ("ann", 29_999, 0, LIMITS, False),
        ("ann", 30_000, 5, LIMITS, False),
        ("ann", 30_000, 0, NO_LIMITS, False),
        ("bob", 30_000, 0, LIMITS, False),
    ],
)
def test_what_did_not_fit_is_remembered_for_some_seconds(
    client_id: str, micros: int, seconds: float, limits: ClientLimits, is_refused: bool
) -> None:
    now = NOON + timedelta(seconds=seconds)
    found = budget_rejected().find(client_id, micros, limits=limits, now=now)
    assert isinstance(found, BudgetExceededError) == is_refused
    assert found is None or "$0.02 is left" in found.message


def test_a_new_day_forgets_the_old_ones_budget() -> None:
    rejections, midnight = RejectionCache(), NOON + timedelta(hours=12)
    rejections.note_budget("ann", 30_000, left=0, now=midnight - timedelta(seconds=1))
    assert rejections.find("ann", 30_000, limits=LIMITS, now=midnight) is None


def test_a_full_minute_is_remembered_until_it_is_over() -> None:
    rejections = RejectionCache()
    rejections.note_rate("ann", now=NOON)
    later = NOON + timedelta(seconds=48)
    found = rejections.find("ann", 1, limits=LIMITS, now=later)
    assert isinstance(found, RateLimitedError)
    assert found.retry_after == 12
    assert rejections.find("ann", 1, limits=NO_LIMITS, now=later) is None
    assert rejections.find("ann", 1, limits=LIMITS, now=NOON + timedelta(minutes=1)) is None


@pytest.mark.parametrize(
    ("client_id", "micros", "seconds", "limits", "is_refused"),
    [
        ("ann", 30_000, 0, SHARED, True),
        ("bob", 30_000, 4.9, SHARED, True),
        ("bob", 29_999, 0, SHARED, False),
        ("bob", 30_000, 5, SHARED, False),
        ("acme", 30_000, 0, LIMITS, False),
    ],
)
def test_what_did_not_fit_the_shared_budget_is_remembered_for_all_who_share_it(
    client_id: str, micros: int, seconds: float, limits: ClientLimits, is_refused: bool
) -> None:
    rejections = RejectionCache()
    rejections.note_total(30_000, now=NOON)
    now = NOON + timedelta(seconds=seconds)
    found = rejections.find(client_id, micros, limits=limits, now=now)
    assert isinstance(found, BudgetExceededError) == is_refused


def test_what_is_over_takes_no_memory() -> None:
    rejections = budget_rejected()
    rejections.note_rate("bob", now=NOON + timedelta(minutes=1))
    assert set(rejections._last) == {"bob"}
