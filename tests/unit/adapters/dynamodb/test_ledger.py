"""What the ledger is to have for a job, in every state, and where it is recorded."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sd3.adapters.dynamodb.ledger import reserve, usage_from_item
from sd3.domain.billing import (
    NO_USAGE,
    Charge,
    ChargeOutcome,
    UsageEntry,
    day_of,
    next_day,
    next_minute,
)
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.domain.job import ImageRecord, Job, JobStatus
from tests.support.fakes.changing_jobs import QUOTE, job
from tests.support.fakes.ports import NOON

CHARGES = tuple(
    Charge(attempt=attempt, upstream="fake", outcome=outcome, micros=micros)
    for attempt, (outcome, micros) in enumerate(
        [(ChargeOutcome.UNKNOWN, 20_000), (ChargeOutcome.FREE, 0), (ChargeOutcome.CHARGED, 30_000)]
    )
)
RECORDS = (
    ImageRecord(index=0, seed=1, key="0.jpg"),
    ImageRecord(index=1, seed=2, removed_for_safety=True),
    ImageRecord(index=2, seed=3, key="2.jpg"),
)


def quoted(**changes: Any) -> Job:
    return job(quote=QUOTE, **changes)


@pytest.mark.parametrize(
    ("stored", "entry"),
    [
        (job(), NO_USAGE),
        (quoted(), UsageEntry(reserved=30_000)),
        (quoted(charges=CHARGES[:1]), UsageEntry(reserved=30_000, spent=20_000)),
        (quoted(status=JobStatus.RUNNING), UsageEntry(reserved=30_000)),
        (quoted(status=JobStatus.FAILED), NO_USAGE),
        (quoted(status=JobStatus.FAILED, images=RECORDS[1:2]), NO_USAGE),
        (quoted(status=JobStatus.CANCELED, charges=CHARGES), UsageEntry(spent=50_000)),
        (
            quoted(status=JobStatus.SUCCEEDED, charges=CHARGES, images=RECORDS),
            UsageEntry(spent=50_000, images=2),
        ),
    ],
)
def test_a_usage_entry_follows_from_the_job_alone(stored: Job, entry: UsageEntry) -> None:
    assert stored.usage == entry


def test_days_are_utc() -> None:
    late = datetime(2026, 11, 24, 1, 30, 5, 7, tzinfo=timezone(timedelta(hours=2)))
    assert day_of(late) == "2026-11-23"
    assert next_day(late) == datetime(2026, 11, 24, tzinfo=UTC)
    assert next_minute(late) - late == timedelta(seconds=54, microseconds=999_993)


@pytest.mark.parametrize(
    ("budget", "condition", "room"),
    [
        (100_000, "attribute_not_exists(committed) OR committed <= :room", "70000"),
        (30_000, "attribute_not_exists(committed) OR committed <= :room", "0"),
        (29_999, "committed <= :room", "-1"),
    ],
)
def test_a_new_job_is_recorded_if_its_budget_allows(budget: int, condition: str, room: str) -> None:
    [part] = reserve("usage", quoted(), ClientLimits(daily_budget_micros=budget))
    update: Any = part["Update"]
    assert update["ConditionExpression"] == condition
    assert update["ExpressionAttributeValues"][":room"] == {"N": room}
    assert update["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


def test_without_a_budget_a_job_is_recorded_unconditionally() -> None:
    [part] = reserve("usage", quoted(), NO_LIMITS)
    assert "ConditionExpression" not in part["Update"]
    assert part["Update"]["Key"] == {"client_id": {"S": "ann"}, "day": {"S": "2026-11-23"}}


def test_a_minute_is_counted_where_there_is_a_rate() -> None:
    _, part = reserve("usage", quoted(), ClientLimits(requests_per_minute=2))
    update: Any = part["Update"]
    assert update["Key"]["day"] == {"S": "minute#2026-11-23T12:00"}
    ttl = update["ExpressionAttributeValues"][":ttl"]["N"]
    assert int(ttl) == (NOON + timedelta(minutes=5)).timestamp()


def test_a_day_without_bookings_has_nothing() -> None:
    assert usage_from_item({}) == NO_USAGE
    assert usage_from_item({"spent": {"N": "5"}, "committed": {"N": "5"}}) == UsageEntry(spent=5)
