"""Scopes and limits, and how they are told on."""

import pytest

from sd3.domain.client import GENERATE, READ, SCOPES, Limits, require
from sd3.errors import ForbiddenError


@pytest.mark.parametrize("limits", [Limits(), Limits(1, 2, 3), Limits(daily_budget_micros=0)])
def test_limits_are_read_as_they_were_told(limits: Limits) -> None:
    assert Limits.read(limits.told()) == limits


def test_what_is_no_limit_is_not_told() -> None:
    assert Limits(max_images=4).told() == {"max_images": "4"}


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset([READ])])
def test_a_scope_that_is_missing_is_named(scopes: frozenset[str]) -> None:
    with pytest.raises(ForbiddenError, match="scope generate"):
        require(GENERATE, scopes)
    require(GENERATE, SCOPES)
