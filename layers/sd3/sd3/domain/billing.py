"""Money: whole micro-dollars inside, dollars at the edge; what calls cost, what clients used."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from sd3.domain.client import UPLOADS_PER_MINUTE, ClientLimits
from sd3.domain.record import Record
from sd3.errors import BudgetExceededError, RateLimitedError, RequestError


class ChargeOutcome(StrEnum):
    """What a call to an upstream did to the operator's bill."""

    CHARGED = "charged"
    UNKNOWN = "unknown"
    FREE = "free"


class Charge(Record):
    """What calls to an upstream cost, or may have cost, in micro-dollars.

    `attempt` is the attempt of the job that made the calls. It is 0 until the job has noted it. A
    later version may have an `outcome` that this one does not know; `micros` count all the same.
    """

    attempt: int = 0
    upstream: str
    outcome: Annotated[ChargeOutcome | str, Field(union_mode="left_to_right")]
    micros: int


class Quote(Record):
    """The most that an attempt can cost, in micro-dollars, and at which upstream."""

    upstream: str
    micros: int


MICROS_PER_DOLLAR: Final = 1_000_000


class UsageEntry(BaseModel):
    """What the ledger has for a job, or for a client's day, in micro-dollars and images.

    `reserved` may still be charged. `spent` was charged, or may have been.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    reserved: int = 0
    spent: int = 0
    images: int = 0

    @property
    def committed(self) -> int:
        """What counts against a budget."""
        return self.reserved + self.spent

    def __add__(self, other: Self) -> "UsageEntry":
        return UsageEntry(
            reserved=self.reserved + other.reserved,
            spent=self.spent + other.spent,
            images=self.images + other.images,
        )

    def __sub__(self, other: Self) -> "UsageEntry":
        return UsageEntry(
            reserved=self.reserved - other.reserved,
            spent=self.spent - other.spent,
            images=self.images - other.images,
        )


NO_USAGE = UsageEntry()


def dollars(micros: int) -> str:
    """Write micro-dollars as dollars, with as many decimals as they need, at least two."""
    whole, _, fraction = f"{Decimal(micros).scaleb(-6):f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def day_of(time: datetime) -> str:
    """Name the day (UTC, ISO) that a time is in."""
    return time.astimezone(UTC).date().isoformat()


def next_day(time: datetime) -> datetime:
    """Return when the day (UTC) of `time` is over."""
    return midnight(time) + timedelta(days=1)


def next_minute(time: datetime) -> datetime:
    """Return when the minute of `time` is over."""
    return time.replace(second=0, microsecond=0) + timedelta(minutes=1)


def midnight(time: datetime) -> datetime:
    """Return when the day (UTC) of `time` began."""
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def budget_exceeded(micros: int, limits: ClientLimits, *, left: int, now: datetime) -> RequestError:
    """Make the error for what takes `micros` of a budget that has `left`."""
    return BudgetExceededError(
        f"This takes ${dollars(micros)}, and of the budget of"
        f" ${dollars(limits.daily_budget_micros or 0)} a day ${dollars(max(left, 0))} is left;"
        f" it resets at {next_day(now):%Y-%m-%dT%H:%M:%SZ}."
    )


def total_budget_exceeded(*, now: datetime) -> RequestError:
    """Make the error for a budget that clients share. No client learns what the others spend."""
    return BudgetExceededError(
        "The budget that all signed-in users share is used up for today;"
        f" it resets at {next_day(now):%Y-%m-%dT%H:%M:%SZ}."
    )


def rate_limited(limits: ClientLimits, *, now: datetime) -> RequestError:
    """Make the error for one request too many in this minute."""
    return _one_too_many(f"{limits.requests_per_minute} requests", now)


def uploads_limited(*, now: datetime) -> RequestError:
    """Make the error for one upload, or one image by its URL, too many in this minute."""
    return _one_too_many(f"{UPLOADS_PER_MINUTE} uploads and images by URL", now)


def _one_too_many(taken: str, now: datetime) -> RequestError:
    return RateLimitedError(
        f"Only {taken} a minute are taken from this client.",
        retry_after=(next_minute(now) - now).total_seconds(),
    )


USAGE_DAYS: Final = 30
"""How many days GET /usage shows, with today."""


def first_day(now: datetime) -> str:
    """Name the first day that GET /usage shows."""
    return day_of(now - timedelta(days=USAGE_DAYS - 1))


def left_of(limits: ClientLimits, usage: UsageEntry) -> int | None:
    """Return the micro-dollars that are left of a day's budget; None without a budget."""
    budget = limits.daily_budget_micros
    return None if budget is None else max(budget - usage.committed, 0)


class DailyUsage(NamedTuple):
    """A client's usage on one day (UTC, ISO)."""

    day: str
    usage: UsageEntry
