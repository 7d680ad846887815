"""Scopes and limits, and how the authorizer passes them on."""

import pytest

from sd3.domain.client import GENERATE, READ, SCOPES, ClientLimits, require
from sd3.errors import ForbiddenError


@pytest.mark.parametrize(
    "limits", [ClientLimits(), ClientLimits(1, 2, 3, 4), ClientLimits(daily_budget_micros=0)]
)
def test_limits_round_trip_through_the_context(limits: ClientLimits) -> None:
    assert ClientLimits.from_context(limits.to_context()) == limits


def test_absent_limits_are_left_out() -> None:
    assert ClientLimits(max_images=4).to_context() == {"max_images": "4"}


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset([READ])])
def test_a_scope_that_is_missing_is_named(scopes: frozenset[str]) -> None:
    with pytest.raises(ForbiddenError, match="scope generate"):
        require(GENERATE, scopes)
    require(GENERATE, SCOPES)
