"""What the ledger is to have for a job, in every state."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sd3.domain.billing import (
    NO_USAGE,
    Charge,
    ChargeOutcome,
    UsageEntry,
    day_of,
    next_day,
    next_minute,
)
from sd3.domain.job import ImageRecord, Job, JobStatus
from tests.support.fakes.changing_jobs import QUOTE, job

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
