"""What a client is told of its use: GET /usage, and what a request would take."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Final, Literal

from pydantic import BaseModel, Field

from sd3.access import Limits
from sd3.ledger import day_of, next_day
from sd3.money import MICROS, NOTHING, Booking
from sd3.ports import UsedDay

DAYS: Final = 30
"""That a client is told of, today among them."""


class DayAnswer(BaseModel):
    """A day (UTC): all that the jobs cost which were made on it."""

    date: str
    pictures: int
    cost_usd: float = Field(description="What was charged, or may have been.")
    reserved_usd: float = Field(description="What jobs that have not ended may still cost.")


class TodayAnswer(DayAnswer):
    """This day; `budget_usd` and `left_usd` are null for a client without a budget."""

    budget_usd: float | None
    left_usd: float | None
    resets_at: datetime


class PastAnswer(BaseModel):
    """The last days together, and those of them that have bookings, newest first."""

    pictures: int
    cost_usd: float
    days: list[DayAnswer]


class UsageAnswer(BaseModel):
    """GET /usage."""

    client_id: str
    today: TodayAnswer
    last_30_days: PastAnswer


class QuoteAnswer(BaseModel):
    """POST /generate/sd3 with `dry_run`: what the request would take, at the most."""

    dry_run: Literal[True] = True
    cost_usd: float
    upstream: str = Field(description="The dearest that may draw it.")
    ignored: list[str] = Field(description="Fields that this upstream would not follow as asked.")
    budget_left_usd: float | None = Field(description="Of today's, before this request.")


def first_day(now: datetime) -> str:
    """The first day that a client is told of."""
    return day_of(now - timedelta(days=DAYS - 1))


def left_of(limits: Limits, booking: Booking) -> int | None:
    """Micro-dollars that are left of a day's budget; None without one."""
    budget = limits.daily_budget_micros
    return None if budget is None else max(budget - booking.committed, 0)


def usage_answer(
    client_id: str, days: Sequence[UsedDay], *, limits: Limits, now: datetime
) -> UsageAnswer:
    """What a client has used on these days, newest first, and may still use."""
    date = day_of(now)
    booked = dict(days)
    today, total = booked.get(date, NOTHING), reduce(Booking.__add__, booked.values(), NOTHING)
    return UsageAnswer(
        client_id=client_id,
        today=TodayAnswer(
            **_told(date, today),
            budget_usd=in_dollars(limits.daily_budget_micros),
            left_usd=in_dollars(left_of(limits, today)),
            resets_at=next_day(now.astimezone(UTC)),
        ),
        last_30_days=PastAnswer(
            pictures=total.pictures,
            cost_usd=total.spent / MICROS,
            days=[DayAnswer(**_told(day, booking)) for day, booking in days],
        ),
    )


def in_dollars(micros: int | None) -> float | None:
    """Micro-dollars as the number of dollars that an answer has."""
    return None if micros is None else micros / MICROS


def _told(date: str, booking: Booking) -> dict[str, object]:
    return {
        "date": date,
        "pictures": booking.pictures,
        "cost_usd": booking.spent / MICROS,
        "reserved_usd": booking.reserved / MICROS,
    }
