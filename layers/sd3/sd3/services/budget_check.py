"""The check of a price against what is left of today's budgets. It reserves nothing."""

from datetime import datetime

from sd3.domain.billing import Quote, budget_exceeded, day_of, total_budget_exceeded
from sd3.domain.client import JWT_CLIENTS, ClientLimits
from sd3.services.ports import UsageRepository


def check_budget(
    usage: UsageRepository, quote: Quote, *, client_id: str, limits: ClientLimits, now: datetime
) -> int | None:
    """Return the micro-dollars that are left of a client's budget; None without a budget.

    Raises BudgetExceededError and StorageError. Without a budget nothing is read.
    """
    left = _left_today(usage, client_id, limits.daily_budget_micros, now=now)
    if left is not None and quote.micros > left:
        raise budget_exceeded(quote.micros, limits, left=left, now=now)
    total_left = _left_today(usage, JWT_CLIENTS, limits.total_daily_budget_micros, now=now)
    if total_left is not None and quote.micros > total_left:
        raise total_budget_exceeded(now=now)
    return left


def _left_today(
    usage: UsageRepository, client_id: str, budget: int | None, *, now: datetime
) -> int | None:
    if budget is None:
        return None
    days = usage.days(client_id, since=day_of(now), until=day_of(now))
    return max(budget - (days[0].usage.committed if days else 0), 0)
